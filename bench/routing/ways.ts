// Ways to find out which prefix an address is in: ours, and what else a user would take.
import { BlockList } from 'node:net';
import ipaddr from 'ipaddr.js';
import { LpmTable } from '#runtime/routing/lpm-table.js';
import type { TableCase } from './tables.js';

export interface Way {
  readonly name: string;
  /** @returns whether an address is in some prefix */
  build(table: TableCase): (address: string) => boolean;
}

export const OURS = 'LpmTable';
/** Many prefixes belong to few servers. */
const SERVERS = 16;

export const WAYS: readonly Way[] = [
  {
    name: OURS,
    build({ prefixes }) {
      const table = new LpmTable(prefixes.map((prefix, nth) => ({ prefix, value: nth % SERVERS })));
      return (address) => table.lookup(address, 443) !== undefined;
    },
  },
  {
    // Tells whether an address is in the list, not by which prefix.
    name: 'net.BlockList',
    build({ prefixes, family }) {
      const list = new BlockList();
      for (const prefix of prefixes) {
        const [address = '', length] = prefix.split('/');
        list.addSubnet(address, Number(length), family);
      }
      return (address) => list.check(address, family);
    },
  },
  {
    // Sorted by their lengths, so that the first that matches is the longest.
    name: 'ipaddr.js',
    build({ prefixes }) {
      const parsed = prefixes.map((prefix) => ipaddr.parseCIDR(prefix)).sort((a, b) => b[1] - a[1]);
      return (text) => {
        const address = ipaddr.parse(text);
        return parsed.some((range) => address.match(range));
      };
    },
  },
];
