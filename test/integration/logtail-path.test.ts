// How large datagrams by UDP become: by the interface they leave by, in a network namespace of its own.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { needs, privilege, program } from '../helpers/requirements.js';

const run = promisify(execFile);
const PRINTING = fileURLToPath(new URL('../helpers/udp-path-process.js', import.meta.url));

const withNamespaces = needs(
  test,
  privilege('netAdmin'),
  privilege('sysAdmin'),
  program('ip', 'iproute2'),
  program('unshare', 'util-linux'),
);

/** Of the namespace, which has to see itself in /sys. */
const LINKS = `
  mount -t sysfs sysfs /sys
  ip link set lo up
  ip link add usual type veth peer name usual-peer && ip link set usual-peer up && ip link set usual up && ip address add 192.0.2.1/24 dev usual
  ip -6 address add 2001:db8:1::1/64 dev usual nodad
  ip link add narrow type veth peer name narrow-peer && ip link set narrow-peer up && ip link set narrow mtu 1300 up && ip address add 198.51.100.1/24 dev narrow
  ip -6 address add 2001:db8:2::1/64 dev narrow nodad
  ip link add jumbo type veth peer name jumbo-peer && ip link set jumbo-peer up && ip link set jumbo mtu 9000 up && ip address add 203.0.113.1/24 dev jumbo
`;

withNamespaces('datagrams fit the path', async (t) => {
  const expected = {
    '127.0.0.1': 65_507,
    '::1': 65_488,
    '192.0.2.2': 1452,
    '2001:db8:1::2': 1432,
    '198.51.100.2': 1272,
    '2001:db8:2::2': 1252,
    // Only the first link is known to be that wide.
    '203.0.113.2': 1452,
  };
  const { stdout } = await run(
    'unshare',
    [
      '--net',
      '--mount',
      'sh',
      '-ec',
      `${LINKS} exec "$@"`,
      'sh',
      process.execPath,
      PRINTING,
      ...Object.keys(expected),
    ],
    { timeout: 30_000 },
  );
  t.deepEqual(JSON.parse(stdout), expected);
});
