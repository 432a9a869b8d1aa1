// A ULID: 48 bits of time and 80 of chance, as 26 characters (https://github.com/ulid/spec).
import { randomBytes } from "node:crypto";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** @returns {string} */
export function ulid() {
  let time = Date.now();
  let text = "";
  for (let place = 0; place < 10; place += 1) {
    text = ALPHABET[time % 32] + text;
    time = Math.floor(time / 32);
  }
  // Five bits of each of 16 bytes.
  for (const byte of randomBytes(16)) text += ALPHABET[byte & 31];
  return text;
}
