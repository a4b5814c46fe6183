// A client in a process of its own. Command by IPC: `<address> <port> [path] [source address]`, one GET on a new connection; it answers
// with the JSON that came, or `{ error }`: the status where that is not 200, or what the connection ended with.
import { get } from 'node:http';
import { text } from 'node:stream/consumers';

process.on('message', (line: string) => {
  const [host = '', port, path = '/', localAddress] = line.split(' ');
  const to = { host, port: Number(port), path, ...(localAddress === undefined ? {} : { localAddress }) };
  const request = get({ ...to, agent: false, timeout: 10_000 }, async (response) => {
    const body = await text(response);
    process.send?.(response.statusCode === 200 ? JSON.parse(body) : { error: String(response.statusCode) });
  });
  request.on('timeout', () => request.destroy(new Error('nothing came')));
  request.on('error', ({ message }) => process.send?.({ error: message }));
});
process.send?.('ready');
