// Standard input is closed, so that 0 is the lowest free number: an answer goes there.
import { loadNative } from '#native/index.js';

const native = loadNative();
// Node.js opens /dev/null for a closed standard descriptor.
native.closeFd(0);
const [server, client] = native.socketpair();
console.log(`server ${server}`);
console.log(`left ${native.sendAnswer(server, false, 'head ', Buffer.from('body'))}`);
const target = Buffer.alloc(64);
console.log(`client has ${target.toString('latin1', 0, native.read(client, target))}`);
