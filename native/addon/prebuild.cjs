// Makes prebuilds/linux-<arch>/ for the package: the binary that lets others install without a compiler. For the maintainer;
// not part of the package.
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const prebuildify = require('prebuildify');
const { copySources, headersPrefix, nodeGyp } = require('./build-inputs.cjs');

// prebuildify would download headers, and its rebuild would empty the build folder that is in use.
process.env.npm_config_nodedir = headersPrefix();
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'fdpass-prebuild-'));
copySources(work);
// In the workspace node-gyp is a program of its own, not a script for Node.js.
const [program] = nodeGyp();
prebuildify({ cwd: work, out: __dirname, napi: true, strip: true, nodeGyp: program }, (error) => {
  fs.rmSync(work, { recursive: true, force: true });
  if (error) {
    process.stderr.write(`@fdpass/native could not be prebuilt: ${error.message}.\n`);
    process.exitCode = 1;
  }
});
