// Where the workspace's parts are, and the environment its tools run in.
const fs = require('node:fs');
const path = require('node:path');

const root = path.resolve(__dirname, '..');

const subfolders = (folder) =>
  fs.existsSync(path.join(root, folder))
    ? fs
        .readdirSync(path.join(root, folder))
        .map((name) => path.join(folder, name))
        .filter((project) => fs.existsSync(path.join(root, project, 'package.json')))
    : [];

/** Folders with a package.json, relative to the root; the first is the root itself. */
const packageFolders = () => ['.'].concat(subfolders('native'), subfolders('packages'));

const readManifest = (folder) => JSON.parse(fs.readFileSync(path.join(root, folder, 'package.json'), 'utf8'));

// `npm run` tells its script about npm itself in npm_* variables; pnpm and node-gyp would take them for their own settings.
// Only what says where packages come from, and what to compile with, is kept.
const KEPT_NPM_SETTING =
  /^npm_config_(@|\/\/|_auth|registry$|cache$|cafile$|ca$|proxy$|https_proxy$|noproxy$|userconfig$|strict_ssl$|nodedir$|python$)/i;

/** The environment for the tools: the user's own, without what npm and debuggers add to it. */
function toolEnvironment(extra) {
  const environment = Object.assign({}, process.env);
  for (const name of Object.keys(environment)) {
    if (/^npm_/i.test(name) && !KEPT_NPM_SETTING.test(name)) delete environment[name];
  }
  for (const name of ['NODE_OPTIONS', 'NODE_ENV', 'NODE', 'INIT_CWD']) delete environment[name];
  return Object.assign(environment, extra);
}

module.exports = { root, packageFolders, readManifest, toolEnvironment };
