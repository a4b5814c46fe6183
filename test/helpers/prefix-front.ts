// A front door in a process of its own. Arguments: its listeners as JSON, and its uid, '' for the parent's. Commands by IPC: `replace <JSON>`,
// which answers '' or the error's code and message; `stats`, `addresses`, `warnings`; and `close`, after which the process must end by itself.
import { createFrontDoor } from '#runtime/front-door/index.js';
import { native } from '#runtime/native.js';
import { runAs } from './run-as.js';

const [listeners = '', uid = ''] = process.argv.slice(2);
native();
if (uid !== '') runAs(Number(uid));

const warnings: string[] = [];
const frontDoor = createFrontDoor({
  listeners: JSON.parse(listeners),
  logger: { warn: (_facts, message) => void warnings.push(message) },
});
await frontDoor.listen();

const commands: Record<string, (argument: string) => unknown> = {
  replace: (json) =>
    frontDoor.replace(JSON.parse(json)).then(
      () => '',
      (error: NodeJS.ErrnoException) => `${error.code}: ${error.message}`,
    ),
  stats: () => frontDoor.stats(),
  addresses: () => frontDoor.addresses(),
  warnings: () => warnings,
  close: async () => {
    await frontDoor.close();
    return frontDoor.stats();
  },
};
const end = (): void => process.exit(1);
process.on('disconnect', end);
process.on('message', async (line: string) => {
  const [command = ''] = line.split(' ', 1);
  process.send?.(await commands[command]?.(line.slice(command.length + 1)));
  if (command !== 'close') return;
  process.off('disconnect', end);
  process.disconnect();
});
process.send?.('ready');
