// Hands clients over as a web server of another user would: clients of any local address of its network namespace, in the kinds that
// only TLS makes, too. Command by IPC: `<local address> <kind> <version>`, a POST of `0123456789` to /facts, half of it read past the
// head where the sender can say so; answers with the JSON that came.
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import { native } from '#runtime/native.js';
import { handOverAt } from './local-clients.js';
import { runAs } from './run-as.js';

const [path = '', uid = ''] = process.argv.slice(2);
native();
runAs(Number(uid));

process.on('message', async (line: string) => {
  const [local = '', kind, version] = line.split(' ') as [string, HandoverKind, string];
  const isBlind = kind !== 'relay' && version === '0';
  const client = await handOverAt(path, local, kind, {
    version: isBlind ? 0 : 1,
    method: 'POST',
    target: '/facts',
    headers: kind === 'relay' ? {} : { HTTP_CONTENT_LENGTH: '10' },
    earlyBytes: isBlind ? '' : '01234',
    bodyBytes: 10,
  });
  await client.send(isBlind ? '0123456789' : '56789');
  const answer = await client.readToEnd();
  process.send?.(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)));
});
process.send?.('ready');
