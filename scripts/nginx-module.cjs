// The nginx module for the tests: built once before them, where nginx's headers are installed. Tests that need it say so themselves.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Failure } = require('./command.cjs');
const { root } = require('./workspace.cjs');

const FOLDER = path.join(root, 'native', 'nginx');
const MODULE = path.join(FOLDER, 'build', 'ngx_http_fd_pass_module.so');
const HEADERS = '/usr/share/nginx/src/configure';

/** What the module is made of, nginx itself included: an upgrade makes the old one unloadable. */
function newestInput() {
  const sources = fs.readdirSync(path.join(FOLDER, 'src')).map((name) => path.join('src', name));
  const files = ['config', 'build.sh'].concat(sources).map((name) => path.join(FOLDER, name));
  const existing = files.concat(HEADERS).filter((file) => fs.existsSync(file));
  return Math.max(...existing.map((file) => fs.statSync(file).ctimeMs));
}

/** Whether `module` was built after the last change of what it is made of. */
const isCurrent = (module) => fs.existsSync(module) && fs.statSync(module).mtimeMs > newestInput();

/** Whether nginx's headers are installed: without them there is no module. */
const hasHeaders = () => fs.existsSync(HEADERS);

/** Builds the module if it is missing or older than what it is made of. Without nginx's headers it does nothing. */
function buildNginxModule() {
  if (!hasHeaders()) return;
  if (isCurrent(MODULE)) return;
  const { status } = spawnSync(path.join(FOLDER, 'build.sh'), { stdio: 'inherit' });
  if (status !== 0) throw new Failure('The nginx module could not be built: the reason is above.');
}

module.exports = { buildNginxModule, hasHeaders, isCurrent };
