// One client, handed over step by step: the test decides what was read past the head, and speaks and listens as the client.
import { Socket } from 'node:net';
import {
  encodeMessage,
  encodeNetstring,
  encodeScgiHeaders,
  type HandoverKind,
  PassedFd,
  Sender,
} from '@fdpass/scgi-fdpass';
import { loadNative } from '#native/index.js';
import { type AcceptedClient, ClientSource } from './client-source.js';
import { RawClient } from './raw-client.js';
import { WireSender } from './wire-sender.js';

const native = loadNative();

export interface HandOverOptions {
  /** @default 'full' */
  kind?: HandoverKind;
  /** Relays have none. @default 1 */
  version?: 0 | 1;
  /** @default 'GET' */
  method?: string;
  /** @default '/' */
  target?: string;
  /** SCGI headers: `HTTP_` ones and others. `HTTP_HOST` is there already. */
  headers?: Readonly<Record<string, string>>;
  /** What was read past the head; in a relay the whole body. */
  earlyBytes?: string;
  /** Relays: the length of the body that the message announces. @default that of `earlyBytes` */
  bodyBytes?: number;
  /** The client's address as the sender says. @default '192.0.2.7' */
  address?: string;
  /** The client to hand over. @default a new one */
  accepted?: AcceptedClient;
  /** How long the acknowledgement of version 1 may take. @default the sender's */
  timeoutMs?: number;
}

/** A client that was handed over. */
export class HandedClient {
  /** Where the answer arrives; in full handovers the client writes there, too. */
  readonly answer: RawClient;
  readonly #requests: RawClient;

  constructor(answer: RawClient, requests: RawClient = answer) {
    this.answer = answer;
    this.#requests = requests;
  }

  /** Sends bytes of the client's stream. */
  send(bytes: string | Buffer): Promise<void> {
    return this.#requests.send(bytes);
  }

  /** The client's polite end. */
  end(): void {
    this.#requests.socket.end();
  }

  get received(): string {
    return this.answer.received;
  }

  /** Resolves with everything up to the server's end. */
  async readToEnd(): Promise<string> {
    const received = await this.answer.readToEnd();
    await this.#requests.close();
    return received;
  }

  readUntil(text: string): Promise<string> {
    return this.answer.readUntil(text);
  }

  async close(): Promise<void> {
    await this.answer.close();
    await this.#requests.close();
  }
}

/**
 * Hands a new client over to the server at `path`.
 * @throws the refusal of a version-1 sender
 */
export async function handOver(path: string, options: HandOverOptions = {}): Promise<HandedClient> {
  const { kind = 'full', version = 1 } = options;
  if (kind === 'relay') return relay(path, options);
  const { fd, client } = options.accepted ?? (await newClient());
  const owner = new PassedFd(fd);
  try {
    const headers = scgiHeaders(options);
    if (kind === 'partial') headers.unshift(['KTLS_RX', '0']);
    const connection =
      version === 1
        ? await acknowledged(path, headers, options, owner.fd)
        : await blind(path, headers, owner.fd);
    if (kind === 'full') {
      connection?.close();
      return new HandedClient(client);
    }
    return new HandedClient(client, RawClient.of(socketOf(connection as PassedFd)));
  } catch (error) {
    await client.close();
    throw error;
  } finally {
    owner.close();
  }
}

async function newClient(): Promise<AcceptedClient> {
  const source = new ClientSource();
  const accepted = await source.next();
  source.close();
  return accepted;
}

async function acknowledged(
  path: string,
  headers: [string, string][],
  { earlyBytes = '', timeoutMs }: HandOverOptions,
  fd: number,
): Promise<PassedFd | undefined> {
  const sender = new Sender(timeoutMs === undefined ? { path } : { path, timeoutMs });
  const outcome = await sender.send({
    headers,
    earlyBytes: Buffer.from(earlyBytes, 'latin1'),
    fd,
  });
  if (!outcome.taken) throw outcome.error;
  return outcome.connection;
}

/** As the public module does it. */
async function blind(path: string, headers: [string, string][], fd: number): Promise<PassedFd> {
  const sender = new WireSender(path);
  await sender.send(encodeMessage({ headers }), fd);
  return new PassedFd(sender.fd);
}

async function relay(path: string, options: HandOverOptions): Promise<HandedClient> {
  const socket = socketOf(new PassedFd(native.connectUnix(path)));
  const client = RawClient.of(socket);
  const { earlyBytes = '', bodyBytes = earlyBytes.length } = options;
  const headers = [['CONTENT_LENGTH', String(bodyBytes)], ['SCGI', '1'], ...scgiHeaders(options)] as const;
  const message = encodeNetstring(encodeScgiHeaders(headers as Iterable<readonly [string, string]>));
  await client.send(Buffer.concat([message, Buffer.from(earlyBytes, 'latin1')]));
  return new HandedClient(client);
}

function scgiHeaders(options: HandOverOptions): [string, string][] {
  const { method = 'GET', target = '/', address = '192.0.2.7', headers = {} } = options;
  return Object.entries({
    REMOTE_ADDR: address,
    REMOTE_PORT: '4711',
    REQUEST_METHOD: method,
    REQUEST_URI: target,
    HTTP_HOST: 'example.test',
    ...headers,
  });
}

const socketOf = (connection: PassedFd): Socket =>
  new Socket({ fd: connection.take(), readable: true, writable: true, allowHalfOpen: true });
