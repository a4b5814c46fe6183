// TCP clients that came in already: the accepted descriptor as a web server would hold it, and the client at the other end.
import { once } from 'node:events';
import { connect } from 'node:net';
import type { ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { RawClient } from './raw-client.js';
import { until } from './until.js';

const native = loadNative();

export interface AcceptedClient {
  /** The web server's descriptor; the caller owns it. */
  fd: number;
  client: RawClient;
}

export class ClientSource {
  readonly port: number;
  readonly #fd: number;

  /** @param address an IP literal */
  constructor(address = '127.0.0.1') {
    this.#fd = native.bindTcp(address, 0);
    native.listen(this.#fd, 512);
    this.port = native.localAddress(this.#fd).port;
  }

  async next(host = '127.0.0.1'): Promise<AcceptedClient> {
    const socket = connect({ port: this.port, host, allowHalfOpen: true });
    const client = RawClient.of(socket);
    await once(socket, 'connect');
    let fd = -1;
    await until('a client is accepted', () => {
      fd = native.accept(this.#fd);
      return fd !== -1;
    });
    return { fd, client };
  }

  close(): void {
    native.closeFd(this.#fd);
  }
}

/** The descriptor of an idle client; both ends are closed with the test. */
export async function acceptedFd(t: ExecutionContext, address = '127.0.0.1'): Promise<number> {
  const source = new ClientSource(address);
  const { fd, client } = await source.next(address);
  source.close();
  t.teardown(() => {
    native.closeFd(fd);
    return client.close();
  });
  return fd;
}
