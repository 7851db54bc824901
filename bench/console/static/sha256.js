// SHA-256 (FIPS 180-4) of bytes that come in pieces. The browser's own takes only the whole at once, and nothing over plain HTTP.
"use strict";

const Sha256 = (() => {
  // The first 32 bits of the fractional parts of the square and cube roots of the first primes.
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
  const START = primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
  const K = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));

  return class {
    #state = Int32Array.from(START);
    #words = new Int32Array(64);
    #rest = new Uint8Array(64);
    #length = 0;

    // bytes: a Uint8Array.
    add(bytes) {
      let at = 0, kept = this.#length % 64;
      this.#length += bytes.length;
      if (kept) {
        at = Math.min(64 - kept, bytes.length);
        this.#rest.set(bytes.subarray(0, at), kept);
        kept += at;
        if (kept < 64) return;
        this.#block(this.#rest, 0);
      }
      for (; at + 64 <= bytes.length; at += 64) this.#block(bytes, at);
      this.#rest.set(bytes.subarray(at));
    }

    // The digest in hexadecimal digits. Nothing may be added afterwards.
    digest() {
      const bits = this.#length * 8, padding = new Uint8Array(((119 - (this.#length % 64)) % 64) + 9);
      padding[0] = 128;
      const view = new DataView(padding.buffer);
      view.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
      view.setUint32(padding.length - 4, bits % 2 ** 32);
      this.add(padding);
      return [...this.#state].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
    }

    #block(bytes, at) {
      const w = this.#words, state = this.#state;
      for (let i = 0; i < 16; i++, at += 4) w[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
      for (let i = 16; i < 64; i++) {
        const x = w[i - 15], y = w[i - 2];
        const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
        const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
        w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
      }
      let a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
      for (let i = 0; i < 64; i++) {
        const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
        const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
        const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
        const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        h = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
      }
      state[0] += a; state[1] += b; state[2] += c; state[3] += d; state[4] += e; state[5] += f; state[6] += g; state[7] += h;
    }
  };
})();
