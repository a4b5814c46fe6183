// The Debian package of the nginx module: that it builds from a clean checkout, and what dpkg, apt and a running nginx make of it.
// What the module does once it is loaded has its own tests.
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import {
  type BuiltPackages,
  buildPackages,
  type Findings,
  LINK,
  NAME,
  PUBLIC_NAME,
  runWithPackages,
} from '../helpers/nginx-package.js';
import { needs, privilege, program } from '../helpers/requirements.js';

guardDescriptors(test);
// One after the other: each keeps both cores busy, and other files run beside.
const packaged = needs(
  test.serial,
  program('nginx', 'nginx-light'),
  program('dh_nginx', 'nginx-dev'),
  program('dpkg-buildpackage', 'build-essential'),
  program('curl'),
  program('unshare', 'util-linux'),
  privilege('sysAdmin'),
);

const run = promisify(execFile);
/** Half a minute on two cores that have nothing else to do. */
const BUILD_TIMEOUT_MS = 300_000;

let building: Promise<BuiltPackages> | undefined;
function built(): Promise<BuiltPackages> {
  building ??= buildPackages();
  return building;
}
test.after.always('delete the packages', async () => {
  await (await building?.catch(() => undefined))?.remove();
});

async function onMachine(t: ExecutionContext, script: string): Promise<Findings> {
  return runWithPackages(t, await built(), script);
}

/** A field of the package with the module. */
async function field(name: string): Promise<string> {
  const file = (await built()).files.find((path) => basename(path).startsWith(`${NAME}_`)) ?? 'no package';
  return (await run('dpkg-deb', ['--field', file, name])).stdout.trimEnd();
}

packaged('builds for the installed nginx without root, network or a trace beside the sources', async (t) => {
  // It says nothing for all that time, and nothing else may be left to run.
  t.timeout(BUILD_TIMEOUT_MS);
  const { output, leftBehind } = await built();
  t.deepEqual(leftBehind, []);
  t.deepEqual(
    (await readdir(output)).filter((name) => !name.endsWith('.deb')),
    ['package.log'],
  );
  const nginx = await run('dpkg', ['--status', 'nginx']);
  const abi = /nginx-abi-[\w.-]+/.exec(nginx.stdout)?.[0] ?? 'nginx provides no nginx-abi';
  t.true((await field('Depends')).split(', ').includes(abi), abi);
});

packaged('has the version of the npm packages', async (t) => {
  const { version } = JSON.parse(
    await readFile(new URL('../../../package.json', import.meta.url), 'utf8'),
  ) as {
    version: string;
  };
  t.is((await field('Version')).replace(/-[^-]*$/, ''), version);
});

packaged('brings the debug symbols of exactly this module', async (t) => {
  const { facts } = await onMachine(
    t,
    `install_ours
dpkg --install /run/shown/${NAME}-dbgsym_*.deb
symbols=$(dpkg -L ${NAME}-dbgsym | grep '[.]debug$')
id=$(basename $(dirname $symbols))$(basename $symbols .debug)
fact_if 'the same build' grep "Build ID: $id" <(readelf --notes $module)`,
  );
  t.deepEqual(facts, { 'the same build': 'yes' });
});

packaged('a running nginx has the module after the installation, and fd_pass can be used', async (t) => {
  const { facts, said } = await onMachine(
    t,
    `start_nginx
install_ours
awaited has_the_module
fact_state status ${NAME}
fact_links enabled
configure_nginx "$with_fd_pass"
fact_if 'fd_pass is known' nginx -t`,
  );
  t.deepEqual(facts, { status: 'installed', enabled: LINK, 'fd_pass is known': 'yes' });
  t.deepEqual(said, []);
});

for (const { kind, size, reason } of [
  { kind: 'nginx cannot load', size: 0, reason: /dlopen\(\).*ngx_http_fd_pass_module\.so/ },
  // The dynamic linker reads beyond the end of the mapped file: SIGBUS.
  { kind: 'crashes nginx', size: 1000, reason: /nginx -t: status 135/ },
]) {
  packaged(`a module that ${kind} is switched off, and nginx reloads without it`, async (t) => {
    const { facts, said } = await onMachine(
      t,
      `start_nginx
unpack_ours
cp $module /root/good.so
truncate --size=${size} $module
configure_ours
fact_state status ${NAME}
fact_links enabled
fact_if 'nginx -t' nginx -t
awaited has_started_workers 2
fact 'errors of nginx' "$(grep -c emerg $log || true)"
fact_answer answers
cp /root/good.so $module
dpkg-reconfigure ${NAME}
fact_links 'enabled again'
awaited has_the_module
fact_answer 'answers again'`,
    );
    t.deepEqual(facts, {
      status: 'installed',
      enabled: `${LINK}.removed`,
      'nginx -t': 'yes',
      'errors of nginx': '0',
      answers: '204',
      'enabled again': LINK,
      'answers again': '204',
    });
    t.is(said.length, 1);
    t.regex(said[0]!, /fails with this module and succeeds without it, so the module is switched off/);
    t.regex(said[0]!, reason, 'the reason');
    t.regex(said[0]!, /To switch it on again: dpkg-reconfigure libnginx-mod-http-fdpass$/);
  });
}

packaged('a module that another package loads as well is switched off', async (t) => {
  const { facts, said } = await onMachine(
    t,
    `echo "load_module $module;" >$links/10-by-hand.conf
install_ours
fact_links enabled
fact_if 'nginx -t' nginx -t`,
  );
  t.deepEqual(facts, { enabled: `${LINK}.removed`, 'nginx -t': 'yes' });
  t.regex(said.join('\n'), /is already loaded/);
});

packaged('an upgrade switches a broken module off, the next one switches it on', async (t) => {
  const { facts } = await onMachine(
    t,
    `install_ours
unpack_ours
truncate --size=1000 $module
configure_ours
fact_links 'after a broken one'
install_ours
fact_links 'after a good one'`,
  );
  t.deepEqual(facts, { 'after a broken one': `${LINK}.removed`, 'after a good one': LINK });
});

packaged('an upgrade leaves a module off that the administrator switched off', async (t) => {
  const { facts, said } = await onMachine(
    t,
    `install_ours; rm $links/${LINK}; install_ours; fact_links enabled`,
  );
  t.deepEqual(facts, { enabled: '' });
  t.deepEqual(said, []);
});

for (const { title, before } of [
  { title: 'broken before', before: "configure_nginx 'no_such_directive;'; unpack_ours" },
  {
    title: 'using fd_pass, and of a module that is broken',
    before: 'install_ours; configure_nginx "$with_fd_pass"; unpack_ours; truncate --size=1000 $module',
  },
]) {
  packaged(`of a configuration ${title}, nothing is changed and nothing false is said`, async (t) => {
    const { facts, said } = await onMachine(
      t,
      `${before}\nconfigure_ours\nfact_state status ${NAME}\nfact_links enabled`,
    );
    t.deepEqual(facts, { status: 'installed', enabled: LINK });
    t.is(said.length, 1);
    t.regex(said[0]!, /nginx -t fails with this module and without it, so nothing is changed/);
  });
}

packaged(
  'its removal turns the module off, also under a running nginx that uses it; purge leaves nothing',
  async (t) => {
    const { facts } = await onMachine(
      t,
      `install_ours
configure_nginx "$with_fd_pass"
start_nginx
dpkg --remove ${NAME}
fact_answer 'answers, with fd_pass in its configuration'
fact_links 'enabled after remove'
configure_nginx ''
fact_if 'nginx -t without fd_pass' nginx -t
install_ours
fact_links 'enabled after the next installation'
dpkg --remove ${NAME}
dpkg --purge ${NAME}
fact_links 'enabled after purge'
fact 'left after purge' "$(find /etc/nginx /usr/lib/nginx /usr/share/nginx -name '*fdpass*' -o -name '*fd_pass*')"`,
    );
    t.deepEqual(facts, {
      'answers, with fd_pass in its configuration': '204',
      'enabled after remove': `${LINK}.removed`,
      'nginx -t without fd_pass': 'yes',
      'enabled after the next installation': LINK,
      'enabled after purge': '',
      'left after purge': '',
    });
  },
);

// The stand-in for the public package is this one under the other name: dh_nginx gives both the same scripts.
const MAKE_PUBLIC = `
mkdir /srv/public
dpkg-deb --raw-extract /run/shown/${NAME}_*.deb /srv/public/tree
cd /srv/public/tree
sed -i 's/fdpass/fd-pass/g; /^\\(Provides\\|Conflicts\\|Replaces\\):/d; s/^Version:.*/Version: 99/' DEBIAN/*
mv usr/share/nginx/modules-available/mod-http-{fdpass,fd-pass}.conf
dpkg-deb --build . /srv/public >/dev/null
cd /srv/public
rm -r tree
`;

packaged('replaces the public package, whose purge later does not switch ours off', async (t) => {
  const { facts } = await onMachine(
    t,
    `${MAKE_PUBLIC}
dpkg --install ${PUBLIC_NAME}_*.deb
fact_links before
install_ours
fact_state ours ${NAME}
fact_state theirs ${PUBLIC_NAME}
dpkg --purge ${PUBLIC_NAME}
fact_links after
fact_if 'nginx -t' nginx -t`,
  );
  t.deepEqual(facts, {
    before: '50-mod-http-fd-pass.conf',
    ours: 'installed',
    theirs: 'config-files',
    after: LINK,
    'nginx -t': 'yes',
  });
});

packaged(
  'no upgrade swaps it for a newer public package, and it satisfies who depends on that',
  async (t) => {
    const { facts } = await onMachine(
      t,
      `${MAKE_PUBLIC}
install_ours
mkdir -p user/DEBIAN lists
printf '%s\\n' 'Package: user' 'Version: 1' 'Architecture: all' 'Maintainer: nobody <nobody@fdpass.example>' \
  'Description: depends on it' 'Depends: ${PUBLIC_NAME}' >user/DEBIAN/control
dpkg-deb --build user . >/dev/null
dpkg-scanpackages . >Packages
echo 'deb [trusted=yes] file:/srv/public ./' >sources
cat >apt.conf <<END
Dir::Etc::SourceList "$PWD/sources";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$PWD/lists";
END
export APT_CONFIG=$PWD/apt.conf
apt-get update
fact candidate "$(apt-cache policy ${PUBLIC_NAME} | sed -n 's/.*Candidate: //p')"
fact 'full-upgrade changes' "$(apt-get --simulate full-upgrade | grep -cE '^(Inst|Remv)' || true)"
fact 'for the user' "$(echo $(apt-get --simulate install user | grep -oE '^(Inst|Remv) [^ ]+'))"`,
    );
    t.deepEqual(facts, { candidate: '99', 'full-upgrade changes': '0', 'for the user': 'Inst user' });
  },
);
