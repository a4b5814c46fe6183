// Follows the steps of docs/operations.md, from an empty machine to a served request, on a throwaway machine: every block is run as it
// stands, in one shell. Two programs are stood in for. apt-get, which has no network there, only looks whether packages are installed, and
// is the real one for a package in a file; systemctl starts what systemd would, from the unit, since no systemd runs there.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { needs, privilege, program } from '../helpers/requirements.js';
import { onThrowawayMachine } from '../helpers/throwaway-machine.js';
import { type Block, Document, root } from './markdown.js';

guardDescriptors(test);
const onMachine = needs(
  test,
  program('nginx', 'nginx-light'),
  program('dh_nginx', 'nginx-dev'),
  program('dpkg-buildpackage', 'build-essential'),
  program('curl'),
  program('ip', 'iproute2'),
  program('unshare', 'util-linux'),
  privilege('sysAdmin'),
);
const withSystemd = needs(test, program('systemd-analyze', 'systemd'));

const PATH = 'docs/operations.md';
const text = readFileSync(join(root, PATH), 'utf8');
const document = new Document(PATH, text);

/** The blocks between the two comments. */
function steps(): Block[] {
  const lines = text.split('\n');
  const [begin, end] = ['<!-- steps -->', '<!-- /steps -->'].map((comment) => lines.indexOf(comment));
  return document.blocks.filter(({ line }) => line > (begin ?? 0) && line < (end ?? 0));
}

const APT_GET = `#!/bin/bash
# update; install --yes NAMES; install --yes FILE
[[ $1 == update ]] && exit
[[ $3 == /* ]] && exec /usr/bin/apt-get "$@"
lack=()
for name in "\${@:3}"; do
  dpkg-query --show --showformat '\${db:Status-Status}' "$name" 2>&1 | grep -qx installed && continue
  case $name in
    nodejs) command -v node ;;
    npm | nginx) command -v "$name" ;;
    # Where this Node.js has its headers.
    libnode-dev) [[ -e $(dirname "$(dirname "$(readlink -f "$(command -v node)")")")/include/node/node.h ]] ;;
    # The checkout is here.
    git) ;;
    *) false ;;
  esac >&2 || lack+=("$name")
done
(( \${#lack[@]} == 0 )) || { echo "not installed: \${lack[*]}"; exit 100; }
`;

const SYSTEMCTL = `#!/bin/bash
# daemon-reload; enable --now UNIT; restart nginx
set -eu
case "$*" in
  daemon-reload) ;;
  'restart nginx') nginx -s stop 2>/dev/null || true; nginx ;;
  'enable --now '*)
    declare -A service=()
    while IFS== read -r name value; do
      case $name in
        '' | '['* | '#'* | Description | WantedBy | Restart | TimeoutStopSec | RuntimeDirectoryPreserve) ;;
        User | SupplementaryGroups | RuntimeDirectory | RuntimeDirectoryMode | WorkingDirectory) service[$name]=$value ;;
        Environment | ExecStart | LimitNOFILE) service[$name]=$value ;;
        *) echo "systemctl: what does $name do?"; exit 1 ;;
      esac
    done <"/etc/systemd/system/$3"
    user=\${service[User]}
    install -d -o "$user" -g "$user" -m "\${service[RuntimeDirectoryMode]}" "/run/\${service[RuntimeDirectory]}"
    cd "\${service[WorkingDirectory]}"
    # A container may not raise it.
    ulimit -n "\${service[LimitNOFILE]}" 2>/dev/null || true
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \${service[Environment]} \\
      setpriv --reuid="$user" --regid="$user" --groups="$user,\${service[SupplementaryGroups]}" --inh-caps=-all \\
      \${service[ExecStart]} >/var/log/app.log 2>&1 </dev/null &
    ;;
  *) echo "systemctl: unknown: $*"; exit 1 ;;
esac
`;

/** An empty machine: as good as a fresh one where this one is not, with the checkout in its place. */
const PRELUDE = `
trap '(( $? == 0 )) || tail /var/log/app.log /var/log/nginx/error.log' EXIT
ip link set lo up
dpkg --purge libnginx-mod-http-fdpass libnginx-mod-http-fd-pass >/dev/null 2>&1 || true
rm -rf /srv/app /tmp/fdpass /opt/fdpass /etc/nginx/sites-*/app
userdel app >/dev/null 2>&1 || true
touch /etc/nginx/sites-enabled/default
mkdir -p /run/checkout/upper /run/checkout/work /opt/fdpass
mount -t overlay -o lowerdir=/run/shown,upperdir=/run/checkout/upper,workdir=/run/checkout/work overlay /opt/fdpass
cat >/usr/local/sbin/apt-get <<'STAND_IN'
${APT_GET}
STAND_IN
cat >/usr/local/sbin/systemctl <<'STAND_IN'
${SYSTEMCTL}
STAND_IN
chmod +x /usr/local/sbin/apt-get /usr/local/sbin/systemctl
`;

/** Between the outputs of blocks. */
const MARK = '=== block of line ';

/** … stands for the rest of a word. */
const pattern = (expected: string): RegExp =>
  new RegExp(`^${expected.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&').replaceAll('…', '\\S*')}$`);

onMachine('the steps lead from an empty machine to a served request', async (t) => {
  t.timeout(120_000);
  const blocks = steps();
  const commands = blocks.filter(({ language }) => language === 'sh');
  t.is(commands.length, 8);
  const script = commands.map(({ line, text: command }) => `echo '${MARK}${line}'\n${command}\n`);
  const ending = `echo '${MARK}0'\n`;
  const { status, output } = await onThrowawayMachine(root, PRELUDE + script.join('') + ending, 110_000);
  if (status !== 0) t.log(output);
  t.is(status, 0, 'every step succeeds');

  const printed = new Map(
    output.split(MARK).map((part) => {
      const at = part.indexOf('\n');
      return [Number(part.slice(0, at)), part.slice(at + 1).trimEnd()] as const;
    }),
  );
  const expected = blocks.flatMap((block, index) => {
    const command = blocks[index - 1];
    return block.language === 'sh' || command === undefined ? [] : [{ block, command }];
  });
  t.is(expected.length, 2, 'the answer, and what there is then');
  for (const { block, command } of expected) {
    t.regex(printed.get(command.line) ?? '', pattern(block.text), document.at(block));
  }
});

/** Files for systemd in the blocks: of one that begins with the file's name, and what a block of the steps writes. */
function units(): { name: string; unit: string }[] {
  return document.blocks.flatMap(({ text: block }) => {
    const [, path = '', inBlock] = /^# (\/etc\/systemd\/system\/\S+)\n(.*)$/s.exec(block) ?? [];
    if (inBlock !== undefined) return [{ name: basename(path), unit: inBlock }];
    const written = /^cat >(\/etc\/systemd\/system\/\S+) <<'END'\n(.*?)\nEND$/ms.exec(block);
    return written === null ? [] : [{ name: basename(written[1] ?? ''), unit: written[2] ?? '' }];
  });
}

withSystemd('systemd has nothing to say against the units', (t) => {
  const all = units();
  t.is(all.length, 5);
  // Two are alternatives of one name. The socket wants the service beside it.
  for (const service of all.filter(({ name }) => name.endsWith('.service'))) {
    const folder = mkdtempSync(join(tmpdir(), 'fdpass-units-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const sockets = all.filter(({ name }) => name.endsWith('.socket') && service.unit.includes(name));
    const files = [service, ...sockets].map(({ name, unit }) => {
      writeFileSync(join(folder, name), `${unit}\n`);
      return join(folder, name);
    });
    const { stdout, stderr, status } = spawnSync('systemd-analyze', ['verify', ...files], {
      encoding: 'utf8',
    });
    t.is(stdout + stderr, '');
    t.is(status, 0);
  }
});
