// Prints, as JSON, the most that a datagram to each of the given addresses carries.
import { openUdpSink } from '#runtime/logtail/udp-sink.js';

const sizes: Record<string, number> = {};
for (const address of process.argv.slice(2)) {
  const sink = await openUdpSink(address, 5140);
  sizes[address] = sink.maxDatagramBytes;
  sink.close();
}
console.log(JSON.stringify(sizes));
