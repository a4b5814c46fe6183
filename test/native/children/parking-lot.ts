// A parking lot in a process of its own: prints what is told of its clients, and when nothing keeps the process alive any more.
import { loadNative, PARKING, PARKING_EVENT, type ParkingLot } from '#native/index.js';

const native = loadNative();
const role = process.argv[2] ?? '';
const say = (...words: unknown[]): void => console.log(words.join(' '));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
process.on('exit', () => say('exit'));
say(role);

const waiting = (): [lot: ParkingLot, parked: number, client: number] => {
  const [parked, client] = native.socketpair();
  const lot = new native.ParkingLot(() => {});
  lot.park(parked, 0);
  return [lot, parked, client];
};

const roles: Record<string, () => Promise<void> | void> = {
  zero() {
    // Node.js opens /dev/null for a closed standard descriptor.
    native.closeFd(0);
    const [parked, client] = native.socketpair();
    say('parked', parked);
    const lot = new native.ParkingLot((bytes, records) => {
      if (records[PARKING.EVENT] === PARKING_EVENT.READ) {
        say('READ', records[PARKING.FD], bytes.toString());
        native.shutdown(client, 1);
      } else say('ENDED', records[PARKING.FD]);
    });
    lot.park(parked, 60_000);
    native.write(client, Buffer.from('x'));
  },
  async throwing() {
    process.on('uncaughtException', (error) => say(`uncaught: ${error.message}`));
    const [parked, client] = native.socketpair();
    let count = 0;
    const lot = new native.ParkingLot(() => {
      count++;
      if (count === 1) throw new Error('in the lot');
      lot.close();
    });
    lot.park(parked, 0);
    native.write(client, Buffer.from('x'));
    while (count === 0) await turn();
    native.write(client, Buffer.from('y'));
    while (count === 1) await turn();
    say('told', count);
  },
  empty() {
    new native.ParkingLot(() => {});
  },
  emptied() {
    const [lot, parked] = waiting();
    lot.park(parked, 60_000);
    lot.unpark(parked);
  },
  closed() {
    const [lot, parked] = waiting();
    lot.park(parked, 60_000);
    lot.close();
  },
  waiting() {
    const [lot, parked] = waiting();
    // Unreferenced itself: it fires only because the lot keeps the loop alive.
    setTimeout(() => {
      say('still there');
      lot.unpark(parked);
    }, 20).unref();
  },
};
await roles[role]?.();
