// The install script's gate: on the wrong system or Node.js it says so in one sentence. Old JavaScript on purpose, because that
// sentence must reach those whose Node.js is too old to parse anything newer.
// biome-ignore-all lint/suspicious/noVar: see above
// biome-ignore-all lint/style/useTemplate: see above

var OLDEST = [20, 19];
var version = process.versions.node.split('.');
var major = Number(version[0]);

function refuse(sentence) {
  process.stderr.write('@fdpass/native ' + sentence + '\n');
  process.exit(1);
}

if (process.platform !== 'linux') {
  refuse('passes descriptors by Linux system calls: it cannot be installed on ' + process.platform + '.');
}
if (major < OLDEST[0] || (major === OLDEST[0] && Number(version[1]) < OLDEST[1])) {
  refuse('needs Node.js ' + OLDEST.join('.') + ' or newer: this is ' + process.versions.node + '.');
}

require('./install-binary.cjs');
