// What the proto files promise: values, misses, lives, refusals.

'use strict';

const { randomBytes } = require('node:crypto');
const { grpc } = require('./caller.js');
const { check, checkEnds, holds } = require('./expect.js');

const MAX_VALUE_BYTES = 16 << 20;
const MAX_KEY_BYTES = 1_024;
const { NOT_FOUND, INVALID_ARGUMENT } = grpc.status;

async function checkValues(caller, { Get, Put, Delete }, bucket) {
  const values = [
    ['an empty value', 'empty', Buffer.alloc(0)],
    ['text', 'text', Buffer.from('text, caf\u00e9')],
    ['a value of one frame', 'frame', randomBytes(16_000)],
    ['a value of several frames', 'frames', randomBytes(100_000)],
    ['a value of several windows', 'windows', randomBytes(5_000_000)],
    ['the greatest value', 'greatest', randomBytes(MAX_VALUE_BYTES)],
    ['a key of any bytes', Buffer.from([0xff, 0, 0x0a, 0xfe]), Buffer.from('v')],
    ['the longest key', Buffer.alloc(MAX_KEY_BYTES, 'k'), Buffer.from('v')],
  ];
  for (const [what, name, value] of values) {
    const entry = { bucket, key: Buffer.from(name) };
    const put = (value) => caller.call(Put, { ...entry, value });
    checkEnds(`${what}: get before the put is a miss`, await caller.call(Get, entry), NOT_FOUND);
    check(`${what}: put`, (await put(value)).answer?.successful);
    check(`${what}: get gives what was put`, holds(await caller.call(Get, entry), value));
    check(`${what}: put of another`, (await put(Buffer.from('other'))).answer?.successful);
    const other = await caller.call(Get, entry);
    check(`${what}: get gives the other`, holds(other, Buffer.from('other')));
    check(`${what}: delete`, (await caller.call(Delete, entry)).answer?.successful);
    checkEnds(`${what}: get after that is a miss`, await caller.call(Get, entry), NOT_FOUND);
    check(`${what}: delete again`, (await caller.call(Delete, entry)).answer?.successful);
  }
}

async function checkOptions(caller, { Get, Put, Flush }, bucket) {
  const entry = { bucket, key: Buffer.from('options') };
  const value = Buffer.from('for an hour, in S3');
  const put = (options) => caller.call(Put, { ...entry, value, ...options });
  check('put for an hour, in S3', (await put({ ttl_seconds: 3_600, ack: 'ACK_S3' })).answer?.successful);
  check('get gives it', holds(await caller.call(Get, entry), value));
  const uint64Max = '18446744073709551615';
  for (const ttl_seconds of ['0', uint64Max]) {
    const refused = await put({ ttl_seconds });
    checkEnds(`a life of ${ttl_seconds} s`, refused, INVALID_ARGUMENT, '1 to 3153600000');
  }
  checkEnds('an ack that there is not', await put({ ack: 99 }), INVALID_ARGUMENT, 'ack');
  const { answer } = await caller.call(Flush, { wait_ms: 10_000 });
  check(`flush leaves nothing (${JSON.stringify(answer)})`, answer?.entries === '0');
}

async function checkRefusals(caller, { Get, Put, Delete }, bucket) {
  const key = Buffer.from('k');
  const cases = [
    ['an empty key', { bucket, key: Buffer.alloc(0) }, '1024'],
    ['an over-long key', { bucket, key: Buffer.alloc(MAX_KEY_BYTES + 1) }, '1024'],
    ['an empty bucket', { bucket: '', key }, '63'],
    ['an over-long bucket', { bucket: 'b'.repeat(64), key }, '63'],
    ['a bucket of dots', { bucket: '..', key }, '..'],
    // Named in the text, which has to survive its percent-encoding.
    ['a bucket with a slash', { bucket: 'a/b', key }, "'/'"],
    ['a bucket with a percent sign', { bucket: 'a%20b', key }, "'%'"],
    ['a bucket with an umlaut', { bucket: 'k\u00fcche', key }, "'\u00fc'"],
    ['a bucket with a face', { bucket: 'a\u{1f600}', key }, "'\u{1f600}'"],
  ];
  for (const [what, entry, naming] of cases) {
    for (const [verb, method] of Object.entries({ Get, Put, Delete })) {
      checkEnds(`${verb} of ${what}`, await caller.call(method, entry), INVALID_ARGUMENT, naming);
    }
  }
  for (const bytes of [MAX_VALUE_BYTES + 1, 3 * MAX_VALUE_BYTES]) {
    const refused = await caller.call(Put, { bucket, key, value: Buffer.alloc(bytes) });
    checkEnds(`Put of ${bytes} bytes`, refused, INVALID_ARGUMENT, `${MAX_VALUE_BYTES}`);
  }
}

module.exports = { MAX_VALUE_BYTES, checkOptions, checkRefusals, checkValues };
