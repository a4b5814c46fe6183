// Which source tag a device's traffic has: the rules as an operator writes them, checked, by device. Knows no device that exists.
import { checkOption } from '../option-check.js';

export type AddressFamily = 'ipv4' | 'ipv6';

/** Gives the traffic that comes in by one device a source tag. */
export interface InterfaceRule {
  /** Name of the device, as the kernel takes it: 1 to 15 bytes without `/`, `:`, `%` and white space. It need not exist yet. */
  device: string;
  /** Only traffic of this family. @default both */
  family?: AddressFamily;
  /** 1 to 64 letters, digits and `_.:-`, a letter or digit first. Several devices may share one. @default the device's name */
  tag?: string;
}

/** The source tags of one device. */
export type DeviceTags = Readonly<Partial<Record<AddressFamily, string>>>;

/** What a source tag looks like. */
export const SOURCE_TAG = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$/;

const FAMILIES: readonly AddressFamily[] = ['ipv4', 'ipv6'];
const MAX_DEVICE_BYTES = 15;

/**
 * The tags by device.
 * @throws `BKR_ERR_OPTION` with the place, as `interfaces[2].tag`
 */
export function resolveRules(rules: readonly InterfaceRule[]): Map<string, DeviceTags> {
  checkOption('interfaces', Array.isArray(rules), 'an array');
  const tags = new Map<string, Partial<Record<AddressFamily, string>>>();
  const places = new Map<string, string>();
  for (const [index, rule] of rules.entries()) {
    const place = `interfaces[${index}]`;
    checkOption(place, typeof rule === 'object' && rule !== null, 'an object with a device');
    const { device, family, tag = device } = rule;
    checkOption(
      `${place}.device`,
      isDeviceName(device),
      `1 to ${MAX_DEVICE_BYTES} bytes without "/", ":", "%" and white space, and not "." or ".."`,
    );
    checkOption(
      `${place}.family`,
      family === undefined || FAMILIES.includes(family),
      "'ipv4', 'ipv6' or left out",
    );
    checkOption(
      `${place}.tag`,
      typeof tag === 'string' && SOURCE_TAG.test(tag),
      '1 to 64 letters, digits, "_", ".", ":" or "-", a letter or digit first (without one it is the name of the device)',
    );
    const ofDevice = tags.get(device) ?? {};
    for (const each of family === undefined ? FAMILIES : [family]) {
      const taken = `${each} of ${device}`;
      checkOption(
        place,
        ofDevice[each] === undefined,
        `for something else than ${places.get(taken)}: both are for ${taken}`,
      );
      ofDevice[each] = tag;
      places.set(taken, place);
    }
    tags.set(device, ofDevice);
  }
  return tags;
}

/**
 * As the kernel judges it (net/core/dev.c), by bytes: to its isspace() 0xa0 is white space, too, and a name with `%` is a pattern of
 * names.
 */
export function isDeviceName(name: unknown): name is string {
  if (typeof name !== 'string' || name === '.' || name === '..') return false;
  const bytes = Buffer.from(name);
  return (
    bytes.length >= 1 &&
    bytes.length <= MAX_DEVICE_BYTES &&
    bytes.every((byte) => !'\0/:% \t\n\v\f\r\xa0'.includes(String.fromCharCode(byte)))
  );
}
