// What stands between a client and a server: passes their bytes on, and sees the connections and HTTP/2's frames.
//
// Knows nothing of gRPC. The frames are those of RFC 9113, section 4.1.

'use strict';

const net = require('node:net');
const { Transform, pipeline } = require('node:stream');

const PREFACE_BYTES = 24;
const FRAME_HEAD_BYTES = 9;
const DATA = 0;
const RST_STREAM = 3;
const PING = 6;
const GOAWAY = 7;
const END_STREAM = 1;
const ACK = 1;

/** Gives what takes the bytes of one direction and calls `see(type, flags)` with each frame whose head has come. */
function frameReader(bytesBefore, see) {
  let skip = bytesBefore;
  let head = Buffer.alloc(0);
  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (skip > 0) {
        const skipped = Math.min(skip, chunk.length - at);
        skip -= skipped;
        at += skipped;
        continue;
      }
      const more = chunk.subarray(at, at + FRAME_HEAD_BYTES - head.length);
      head = Buffer.concat([head, more]);
      at += more.length;
      if (head.length === FRAME_HEAD_BYTES) {
        see(head[3], head[4]);
        skip = head.readUIntBE(0, 3);
        head = Buffer.alloc(0);
      }
    }
  };
}

/** What has passed in one direction, over all connections. */
class Direction {
  bytes = 0;
  /** Requests or answers whose data has ended. */
  ends = 0;
  resets = 0;
  pingAnswers = 0;
  goaways = 0;

  see(type, flags) {
    if (type === DATA && (flags & END_STREAM) !== 0) {
      this.ends += 1;
    } else if (type === RST_STREAM) {
      this.resets += 1;
    } else if (type === PING && (flags & ACK) !== 0) {
      this.pingAnswers += 1;
    } else if (type === GOAWAY) {
      this.goaways += 1;
    }
  }
}

class Wire {
  connections = 0;
  toServer = new Direction();
  toClient = new Direction();
  #listener;
  #mayAnswer = Promise.resolve();
  #passAnswersOn = () => {};
  #waiting = new Set();

  /** Listens on a port of its own, and passes on to `host:port`. */
  static async to(server) {
    const { hostname, port } = new URL(`tcp://${server}`);
    const wire = new Wire();
    // Without it each window waits for the kernel's delayed acknowledgement.
    const noDelay = true;
    const toServer = () => net.connect({ host: hostname, port, noDelay });
    wire.#listener = net.createServer({ noDelay }, (client) => wire.#pass(client, toServer()));
    await new Promise((resolve) => wire.#listener.listen(0, '127.0.0.1', resolve));
    return wire;
  }

  get address() {
    return `127.0.0.1:${this.#listener.address().port}`;
  }

  /** From now on the server's bytes wait here, until `passAnswersOn`. */
  holdAnswers() {
    this.#mayAnswer = new Promise((resolve) => {
      this.#passAnswersOn = resolve;
    });
  }

  passAnswersOn() {
    this.#passAnswersOn();
  }

  /** Waits until `holds()`, which is asked after all that passes. */
  until(holds) {
    return new Promise((resolve) => {
      this.#waiting.add({ holds, resolve });
      this.#look();
    });
  }

  /** Takes no more connections; the last one to end ends the wire. */
  close() {
    this.#listener.close();
  }

  #pass(client, server) {
    this.connections += 1;
    // One that breaks takes the other with it; the client says what that means to a call.
    const ended = () => {};
    pipeline(client, this.#watch(this.toServer, PREFACE_BYTES), server, ended);
    pipeline(server, this.#watch(this.toClient, 0), client, ended);
  }

  #watch(direction, bytesBefore) {
    const read = frameReader(bytesBefore, (type, flags) => direction.see(type, flags));
    const isAnswer = direction === this.toClient;
    return new Transform({
      transform: async (chunk, _encoding, pass) => {
        if (isAnswer) {
          await this.#mayAnswer;
        }
        direction.bytes += chunk.length;
        read(chunk);
        pass(null, chunk);
        this.#look();
      },
    });
  }

  #look() {
    for (const waiting of this.#waiting) {
      if (waiting.holds()) {
        this.#waiting.delete(waiting);
        waiting.resolve();
      }
    }
  }
}

module.exports = { Wire };
