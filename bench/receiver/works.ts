// The receiver alone, without HTTP and without a web server, as works of the comparison: ours against the one in C.
import type { Parameters } from '../nginx/parameters.js';
import type { Work } from '../nginx/works.js';
import type { Mode } from './programs.js';
import { RECEIVERS, type ReceiverName, type RunningReceivers } from './receivers.js';

/** Of one measurement: longer tells no more. */
const SECONDS = 1;

/** A connection for each handover, and all on one channel if our receiver keeps connections. */
export function receiverWorks(running: RunningReceivers, { rounds }: Parameters): Work<ReceiverName>[] {
  const work = (mode: Mode, name: string): Work<ReceiverName> => ({
    key: `receiver, ${mode}`,
    name: `receiver alone, ${name}`,
    unit: 'handover',
    ways: RECEIVERS,
    rounds,
    isWarmedUp: true,
    measure: async (receiver) => {
      const { handovers, seconds, cpuSeconds } = await running.run(receiver, mode, SECONDS);
      return { rate: handovers / seconds, CPU: cpuSeconds / handovers };
    },
  });
  return [
    work('each', 'a connection each'),
    ...(running.keepsConnections ? [work('kept', 'one channel')] : []),
  ];
}
