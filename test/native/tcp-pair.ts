// A TCP connection over loopback: the accepting side as a bare descriptor, as a sender would pass it; the client as a net.Socket.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { until } from '../helpers/until.js';

const native = loadNative();

export interface TcpPair {
  accepted: number;
  client: Socket;
  /** The address the server listens on. */
  port: number;
}

/** Both ends are closed with the test. @param listenOn an IP literal @param connectTo @default the same */
export async function tcpPair(
  t: ExecutionContext,
  listenOn = '127.0.0.1',
  connectTo = listenOn,
): Promise<TcpPair> {
  const listening = native.bindTcp(listenOn, 0);
  native.listen(listening, 1);
  const { port } = native.localAddress(listening);
  const client = connect({ host: connectTo, port });
  client.on('error', () => {});
  await once(client, 'connect');
  let accepted = -1;
  await until('it is accepted', () => {
    accepted = native.accept(listening);
    return accepted !== -1;
  });
  native.closeFd(listening);
  t.teardown(async () => {
    native.closeFd(accepted);
    const closed = client.destroyed && client.closed ? undefined : once(client, 'close');
    client.destroy();
    await closed;
  });
  return { accepted, client, port };
}
