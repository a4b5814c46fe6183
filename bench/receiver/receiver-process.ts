// Our receiver alone in a process: closes each client it gets. Argument: the path it listens on.
import { Receiver } from '@fdpass/scgi-fdpass';

const receiver = new Receiver();
receiver.on('handover', (handover) => {
  if (handover.kind === 'full') handover.passedFd.close();
});
receiver.on('handoverError', (error) => {
  process.stderr.write(`${error.code}: ${error.message}\n`);
});
receiver.once('listening', () => process.send?.('ready'));
receiver.listen({ path: process.argv[2] ?? '' });
process.on('disconnect', () => process.exit());
