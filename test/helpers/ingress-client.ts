// A client in a process of its own. Command by IPC: `<address> <port>`, one GET on a new connection; it answers with the JSON that came.
import { get } from 'node:http';

process.on('message', (line: string) => {
  const [host = '', port] = line.split(' ');
  const request = get({ host, port: Number(port), agent: false, timeout: 10_000 }, async (response) => {
    process.send?.(
      await response
        .setEncoding('utf8')
        .reduce((whole, part) => whole + part, '')
        .then(JSON.parse),
    );
  });
  request.on('timeout', () => request.destroy(new Error('nothing came')));
  request.on('error', ({ message }) => process.send?.({ error: message }));
});
process.send?.('ready');
