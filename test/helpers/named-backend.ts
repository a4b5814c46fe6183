// A backend in a process of its own, whose answers say who it is. Arguments: its name, which is that of its abstract socket, too; its uid, ''
// for the parent's; and what the addresses of its clients begin with, '' for any: it answers 421 to the others. Any command by IPC is
// answered with its uid and the number of its requests.
import { once } from 'node:events';
import { connectionInfo, createServer } from '@fdpass/backend-runtime';
import { native } from '#runtime/native.js';
import { loadAnswer } from './counting-load.js';
import { runAs } from './run-as.js';

const [name = '', uid = '', prefix = ''] = process.argv.slice(2);
native();
if (uid !== '') runAs(Number(uid));

let count = 0;
const server = createServer((request, response) => {
  count++;
  const address = connectionInfo(request).local?.address.replace('::ffff:', '') ?? '';
  response.statusCode = address.startsWith(prefix) ? 200 : 421;
  response.end(loadAnswer(request.url, name));
});
await once(server.listen({ path: `\0${name}` }), 'listening');
process.on('message', () => process.send?.({ uid: process.getuid?.(), count }));
process.on('disconnect', () => process.exit());
process.send?.('ready');
