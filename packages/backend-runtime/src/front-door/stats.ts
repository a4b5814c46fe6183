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
  };
}
