// What the kernel tells of changes of network interfaces.
import { readFileSync } from 'node:fs';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { NAMESPACES, NetworkNamespace } from '../helpers/network-namespace.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';
import { Child } from './children/run.js';
import { pair } from './listener-fixture.js';

const native = loadNative();
const withNamespaces = needs(test.serial, ...NAMESPACES);

guardDescriptors(test);

test.serial('the socket is nonblocking and closes on exec; nobody else owns it', (t) => {
  const fd = native.openLinkEvents();
  t.regex(openDescriptors().get(fd) ?? '', /^socket:/);
  const flags = Number.parseInt(
    /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '',
    8,
  );
  t.is(flags & 0o2004000, 0o2004000, 'O_CLOEXEC | O_NONBLOCK');
  t.is(native.registeredFdCount(), 0);
  native.closeFd(fd);
  t.throws(() => native.drainLinkEvents(fd), { code: 'EBADF' });
});

test.serial('the end of a stream is no change, and what is no socket is an error', (t) => {
  const [left, right] = pair(t);
  t.false(native.drainLinkEvents(left));
  native.shutdown(right, 1);
  t.false(native.drainLinkEvents(left));
});

withNamespaces('an interface comes, changes its name and goes; more than fits is told, too', async (t) => {
  const namespace = await NetworkNamespace.make(t);
  const child = new Child('link-events.js', [], `${namespace.enter} exec "$@"`);
  t.teardown(() => child.kill());
  let answers = 0;
  const hasChanged = async (): Promise<string | undefined> => {
    child.tell('drain');
    await until('it answers', () => child.lines.length > answers);
    return child.lines[answers++];
  };
  t.is(await hasChanged(), 'false');
  for (const change of ['add name x type bridge', 'set x up', 'set x name y', 'del y']) {
    namespace.ip(`link ${change}`);
    t.is(await hasChanged(), 'true', change);
    t.is(await hasChanged(), 'false');
  }
  namespace.ip('address add 192.0.2.1/32 dev lo');
  t.is(await hasChanged(), 'false', 'an address is no interface');
  child.tell('shrink');
  for (let times = 0; times < 20; times++) namespace.ip(`link set lo alias a${times}`);
  t.is(await hasChanged(), 'true', 'too many');
  t.is(await hasChanged(), 'false');
  namespace.ip('link set lo alias b');
  t.is(await hasChanged(), 'true', 'and on it goes');
  child.tell('end');
  t.deepEqual((await child.ended).code, 0);
});
