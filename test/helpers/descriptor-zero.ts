// Makes 0 the lowest free number just before a descriptor is made, in one role after the other, and prints what was served with it.
import { once } from 'node:events';
import { closeSync, openSync, readlinkSync } from 'node:fs';
import { createServer } from '@fdpass/backend-runtime';
import { Sender } from '@fdpass/scgi-fdpass';
import { loadNative } from '#native/index.js';
import { ClientSource } from './client-source.js';
import { VIA } from './passed-on.js';
import { until } from './until.js';
import { GET, versionOne, versionZero, WireSender } from './wire-sender.js';

const native = loadNative();
const report: Record<string, unknown> = {};
/** What 0 is when the handover comes; to be served it gets another number, as libuv never closes this one. */
let received = '';

const zero = (): string => {
  try {
    return readlinkSync('/proc/self/fd/0');
  } catch {
    return '';
  }
};
const occupy = (): void => {
  if (zero() === '' && openSync('/dev/null', 'r') !== 0) throw new Error('0 was not the lowest free number');
};
const free = (): void => {
  if (zero() === '/dev/null') closeSync(0);
};

function makeServer() {
  const server = createServer({ logger: { warn() {}, error() {} } }, (_request, response) => {
    response.end('served');
  });
  server.use((_handover, next) => {
    received = zero();
    next();
  });
  return server;
}

const source = new ClientSource();
const server = makeServer();
const path = `\0fdpass-zero-${process.pid}`;
await once(server.listen({ path }), 'listening');

/** Sends a message beside `fd` once the connection is accepted; `freeFirst` lets that become 0, else what is received does. */
async function handOver(
  at: string,
  message: Buffer,
  fd: number | undefined,
  freeFirst: boolean,
): Promise<WireSender> {
  if (freeFirst) {
    const sender = new WireSender(at);
    free();
    await until('it is accepted', () => zero().startsWith('socket:'));
    await sender.send(message, ...(fd === undefined ? [] : [fd]));
    return sender;
  }
  const sender = new WireSender(at);
  await until('it is accepted', () => server.stats().pending === 1);
  free();
  await sender.send(message, ...(fd === undefined ? [] : [fd]));
  return sender;
}

async function role(name: string, message: Buffer, freeFirst: boolean, needsFd = true): Promise<void> {
  occupy();
  const accepted = needsFd ? await source.next() : undefined;
  received = '';
  const sender = await handOver(path, message, accepted?.fd, freeFirst);
  if (accepted !== undefined) native.closeFd(accepted.fd);
  const answer = accepted === undefined ? await sender.answer() : await accepted.client.readToEnd();
  sender.close();
  await until('0 is free again', () => zero() === '');
  report[name] = { answer: /200/.exec(answer)?.[0] ?? '', wasZero: received.startsWith('socket:') };
}

const partial = [['KTLS_RX', '0'] as const, ...GET];
const { encodeMessage } = await import('@fdpass/scgi-fdpass');
await role('full: passed', versionZero(), false);
await role('partial: passed', versionZero({ headers: partial }), false);
await role('partial: the UNIX connection', versionZero({ headers: partial }), true);
await role('relay: the UNIX connection', encodeMessage({ dialect: 'plain', headers: GET }), true, false);

{
  occupy();
  const accepted = await source.next();
  free();
  const copy = native.dupFd(accepted.fd);
  if (copy !== 0) throw new Error('0 was not the lowest free number');
  const { taken } = await new Sender({ path }).send({ headers: GET, fd: 0 });
  native.closeFd(accepted.fd);
  native.closeFd(copy);
  const answer = await accepted.client.readToEnd();
  report.sent = { answer: /200/.exec(answer)?.[0] ?? '', wasZero: taken };
}

/** Reads what came for a client of a relay, up to the end; takes the descriptor. */
async function readToEnd(fd: number): Promise<string> {
  const bytes = Buffer.alloc(4096);
  let answer = '';
  await until('the answer ends', () => {
    const count = native.read(fd, bytes);
    if (count > 0) answer += bytes.toString('latin1', 0, count);
    return count === 0;
  });
  native.closeFd(fd);
  return answer;
}

const passedOn = {
  partial: versionOne({ headers: [...VIA, ...partial] }),
  relay: versionOne({ headers: [...VIA, ['FD_PASS_RELAY', '0'], ...GET] }),
};
for (const kind of ['partial', 'relay'] as const) {
  occupy();
  const { fd, client } = await source.next();
  const [connection, senders] = native.socketpair();
  received = '';
  const router = new WireSender(path);
  await until('it is accepted', () => server.stats().pending === 1);
  free();
  await router.send(passedOn[kind], ...(kind === 'partial' ? [fd, connection] : [connection]));
  for (const each of [fd, connection]) native.closeFd(each);
  const answer = await (kind === 'partial' ? client.readToEnd() : readToEnd(senders));
  if (kind === 'partial') native.closeFd(senders);
  else await client.close();
  router.close();
  await until('0 is free again', () => zero() === '');
  report[`${kind}, passed on`] = {
    answer: /200/.exec(answer)?.[0] ?? '',
    wasZero: received.startsWith('socket:'),
  };
}

{
  occupy();
  const { fd, client } = await source.next();
  const [connection, senders] = native.socketpair();
  free();
  const copy = native.dupFd(connection);
  if (copy !== 0) throw new Error('0 was not the lowest free number');
  const headers = [...VIA, ...partial];
  const { taken } = await new Sender({ path }).send({ headers, fd, connectionFd: 0 });
  for (const each of [fd, connection, copy]) native.closeFd(each);
  const answer = await client.readToEnd();
  native.closeFd(senders);
  report['sent: the second descriptor'] = { answer: /200/.exec(answer)?.[0] ?? '', wasZero: taken };
}

{
  occupy();
  const [near, far] = native.socketpair();
  const sender = new WireSender(path);
  await until('it is accepted', () => server.stats().pending === 1);
  free();
  const seen: string[] = [];
  server.once('handoverError', () => seen.push(zero()));
  await sender.send(Buffer.concat([versionOne(), Buffer.from('trailing')]), near);
  await sender.answer();
  sender.close();
  native.closeFd(near);
  native.closeFd(far);
  report['refused and closed'] = {
    answer: '',
    wasZero: seen.length === 1 && seen[0] === '' && zero() === '',
  };
}

{
  occupy();
  free();
  const other = makeServer();
  const at = `${path}-listening`;
  const listened = once(other.listen({ path: at }), 'listening');
  const wasZero = zero().startsWith('socket:');
  await listened;
  const accepted = await source.next();
  await new Sender({ path: at }).send({ headers: GET, fd: accepted.fd });
  native.closeFd(accepted.fd);
  const answer = await accepted.client.readToEnd();
  const closed = once(other, 'close');
  other.close();
  await closed;
  report.listening = { answer: /200/.exec(answer)?.[0] ?? '', wasZero: wasZero && zero() === '' };
}

occupy();
source.close();
server.close();
await once(server, 'close');
process.stdout.write(JSON.stringify(report));
