// SHA-256 in the browser. SubtleCrypto wants all bytes at once and exists in secure contexts only (HTTPS, localhost).

/** Above this a whole copy in memory is too much to ask of a phone. */
export const MAX_HASHED_BYTES = 128_000_000;

/** Why `bytes` bytes cannot be hashed here, or undefined if they can. */
export function whyNotHashed(bytes) {
  if (globalThis.crypto?.subtle === undefined) {
    return 'hash not checked: the browser offers SHA-256 only on HTTPS and localhost';
  }
  return bytes > MAX_HASHED_BYTES ? 'hash not checked: too large to hash in the browser' : undefined;
}

export async function sha256Hex(buffer) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', buffer));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
