// What the front door counts, and the plain snapshot of it.
import type { WireErrorCode } from '@fdpass/scgi-fdpass';
import type { RuntimeErrorCode } from '../errors.js';
import type { AnswerStatus } from './error-answer.js';

/** A snapshot: later events do not change it. Counters since the front door was made, unless it says "now". */
export interface FrontDoorStats {
  accepted: number;
  handedOver: number;
  /** Answers a backend refused or missed its client with, by code; with several backends a client may count more than once. */
  refused: Partial<Record<WireErrorCode, number>>;
  /** Requests no backend was asked about, by code. */
  clientErrors: Partial<Record<RuntimeErrorCode, number>>;
  /** Answers given by the front door itself, by status. */
  answered: Partial<Record<AnswerStatus, number>>;
  /** Clients that left before their head was whole. */
  gone: number;
  /** Clients closed because they sent nothing within `idleTimeoutMs`. */
  idleTimeouts: number;
  /** Now: clients whose head is being waited for. */
  waiting: number;
  /** Now: clients offered to a backend. */
  handingOver: number;
  /** Now: clients that get an answer from us. */
  answering: number;
  /** How often accepting paused for lack of descriptors, memory or the like. */
  shortagePauses: number;
  /** How often accepting paused because `maxConnections` was reached. */
  connectionPauses: number;
  /** How often the kernel woke us up for a client's head: about once per piece it comes in. */
  wakeUps: number;
  /** Clients for no listener of their port: reset, without a byte read. */
  unrouted: number;
  /** Clients that came in by the socket of another listener than the one they are for now, as in the moment of a replacement. */
  rerouted: number;
  /** Now: the ports that are shared by prefix or ingress interface. */
  partitions: FrontDoorPartition[];
}

/** How the clients of one port are split. */
export interface FrontDoorPartition {
  address: string;
  port: number;
  /** `kernel`: each listener has an accept queue of its own. `user`: clients come in by any, and are split once they are accepted. */
  by: 'kernel' | 'user';
  /** Prefixes, each once for every interface it is given for. */
  rules: number;
  /** Listening sockets; those of listeners that are gone are kept for others. */
  sockets: number;
  /** Of the kernel's program, which takes 4096; 0 without one. */
  instructions: number;
}

/** Adds one to a counter of a sparse table. */
export function count<Key extends string | number>(table: Partial<Record<Key, number>>, key: Key): void {
  table[key] = (table[key] ?? 0) + 1;
}

/** All counters at zero. */
export function newStats(): FrontDoorStats {
  return {
    accepted: 0,
    handedOver: 0,
    refused: {},
    clientErrors: {},
    answered: {},
    gone: 0,
    idleTimeouts: 0,
    waiting: 0,
    handingOver: 0,
    answering: 0,
    shortagePauses: 0,
    connectionPauses: 0,
    wakeUps: 0,
    unrouted: 0,
    rerouted: 0,
    partitions: [],
  };
}
