// What gRPC and HTTP/2 promise, whatever the service: what one call does is no other's concern.

'use strict';

const { randomBytes } = require('node:crypto');
const { Caller, grpc, inBytes } = require('./caller.js');
const { check, checkEnds, checkSameConnection, holds } = require('./expect.js');
const { MAX_VALUE_BYTES } = require('./service.js');

const { OK, CANCELLED, UNKNOWN, NOT_FOUND, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL } = grpc.status;

/** Calls on one connection; more than the 1,024 streams that a server allows at once. */
const GETS_AT_ONCE = 2_000;
const ROUND_TRIPS_AT_ONCE = 200;

const CANCELLED_CALLS = 8;
/** What has passed of a message when its call is cancelled. */
const BYTES_BEFORE_CANCEL = 1 << 20;

const PINGS = 50;

async function checkMetadata(caller, { Get, Put }, bucket) {
  const entry = { bucket, key: Buffer.from('metadata') };
  const value = Buffer.from('v');
  const metadata = new grpc.Metadata();
  metadata.set('unknown', 'text');
  metadata.set('unknown-bin', Buffer.from([0, 0xff, 1]));
  metadata.set('milena-stale', 'true');
  check('put with metadata', (await caller.call(Put, { ...entry, value }, { metadata })).code === OK);
  const got = await caller.call(Get, entry, { metadata });
  check('get with metadata', holds(got, value));
  const names = [got.head, got.tail].flatMap((metadata) => Object.keys(metadata.getMap()));
  check(`an ordinary answer has none of ours (${names})`, !names.some((name) => name.startsWith('milena')));
  const long = new grpc.Metadata();
  long.set('long', 'x'.repeat(17 << 10));
  // HTTP's "request header fields too large", for which gRPC has no code of its own.
  checkEnds('metadata over 16 KiB', await caller.call(Get, entry, { metadata: long }), UNKNOWN, '431');
  check('get after that', holds(await caller.call(Get, entry), value));
  checkSameConnection('metadata', caller.wire);
}

async function checkMessages(caller, { Get, Put }, bucket) {
  const entry = { bucket, key: Buffer.from('message') };
  const value = Buffer.from('v');
  await caller.call(Put, { ...entry, value });
  const raw = { ...Get, requestSerialize: (bytes) => bytes };
  // Field 100, a number.
  const withMore = Buffer.concat([Get.requestSerialize(entry), Buffer.from([0xa0, 0x06, 0x01])]);
  check('a field that is not known is passed over', holds(await caller.call(raw, withMore), value));
  checkEnds('what is no message', await caller.call(raw, Buffer.from([0xff, 0xff])), INTERNAL);
  const without = caller.beginOpen(raw);
  without.call.end();
  checkEnds('a request without a message', await without.outcome, INTERNAL);
  const servicePath = Get.path.replace(/[^/]*$/, '');
  for (const path of [`${servicePath}Nothing`, '/no.Service/Get']) {
    checkEnds(`a call of ${path}`, await caller.call(inBytes(path), Buffer.alloc(0)), UNIMPLEMENTED);
  }
  check('get after that', holds(await caller.call(Get, entry), value));
  checkSameConnection('messages and methods', caller.wire);
}

async function checkDeadlines(caller, { Get, Put }, bucket) {
  const entry = { bucket, key: Buffer.from('deadline') };
  const value = Buffer.from('v');
  await caller.call(Put, { ...entry, value });
  caller.wire.holdAnswers();
  const late = await caller.call(Get, entry, { timeoutMs: 100 });
  caller.wire.passAnswersOn();
  checkEnds('a get whose answer is late', late, DEADLINE_EXCEEDED);

  // Here only the server knows of the deadline.
  const metadata = new grpc.Metadata();
  metadata.set('grpc-timeout', '100m');
  const { outcome } = caller.beginOpen(Get, metadata);
  // tonic's word for it is CANCELLED.
  checkEnds('a get whose request is late', await outcome, [DEADLINE_EXCEEDED, CANCELLED]);
  check('get after that', holds(await caller.call(Get, entry), value));
  checkSameConnection('deadlines', caller.wire);
}

/** Cancels a call when it is `due`; says whether it has ended so. The server has been told, then. */
async function cancelOnce(due, wire, { call, outcome }) {
  const { resets } = wire.toServer;
  await wire.until(due);
  call.cancel();
  const { code } = await outcome;
  await wire.until(() => wire.toServer.resets > resets);
  return code === CANCELLED;
}

/** Also says whether a cancelled call gives back what it took of the connection's window. */
async function checkCancelledMidway(caller, { Get, Put }, bucket) {
  const { wire } = caller;
  const entry = { bucket, key: Buffer.from('cancelled midway') };
  const value = randomBytes(MAX_VALUE_BYTES);
  const cancelMidway = (direction, call) => {
    const due = direction.bytes + BYTES_BEFORE_CANCEL;
    return cancelOnce(() => direction.bytes >= due, wire, call);
  };
  for (let i = 1; i <= CANCELLED_CALLS; i += 1) {
    const put = caller.begin(Put, { ...entry, value });
    check(`put ${i} cancelled midway`, await cancelMidway(wire.toServer, put));
  }
  checkEnds('get after that is a miss', await caller.call(Get, entry), NOT_FOUND);
  check('put that is not cancelled', (await caller.call(Put, { ...entry, value })).answer?.successful);
  for (let i = 1; i <= CANCELLED_CALLS; i += 1) {
    const get = caller.begin(Get, entry);
    check(`get ${i} cancelled midway`, await cancelMidway(wire.toClient, get));
  }
  check('get that is not cancelled', holds(await caller.call(Get, entry), value));
  checkSameConnection('cancelled midway', wire);
}

async function checkCancelledUnanswered(caller, { Get, Put }, bucket) {
  const { wire } = caller;
  const value = Buffer.from('v');
  const other = { bucket, key: Buffer.from('not cancelled') };
  for (let i = 1; i <= CANCELLED_CALLS; i += 1) {
    const entry = { bucket, key: Buffer.from(`cancelled unanswered ${i}`) };
    const { ends } = wire.toServer;
    const put = caller.begin(Put, { ...entry, value });
    const isSent = () => wire.toServer.ends > ends;
    check(`put ${i} cancelled once it is sent`, await cancelOnce(isSent, wire, put));
    // It may have been done.
    const got = await caller.call(Get, entry);
    check(`get ${i} after that`, holds(got, value) || got.code === NOT_FOUND);
    check(`put ${i} of another key`, (await caller.call(Put, { ...other, value })).answer?.successful);
  }
  checkSameConnection('cancelled unanswered', wire);
}

async function checkManyAtOnce(caller, { Get, Put, Delete }, bucket) {
  const roundTrip = async (i) => {
    const entry = { bucket, key: Buffer.from(`many-${i}`) };
    const value = randomBytes(i * 500);
    const put = await caller.call(Put, { ...entry, value });
    const got = await caller.call(Get, entry);
    const deleted = await caller.call(Delete, entry);
    const gone = await caller.call(Get, entry);
    return put.code === OK && holds(got, value) && deleted.code === OK && gone.code === NOT_FOUND;
  };
  const trips = await Promise.all(Array.from({ length: ROUND_TRIPS_AT_ONCE }, (_, i) => roundTrip(i)));
  check(`${trips.length} round trips at once`, trips.every(Boolean));

  const entry = { bucket, key: Buffer.from('many') };
  const value = randomBytes(1_000);
  await caller.call(Put, { ...entry, value });
  const gets = await Promise.all(Array.from({ length: GETS_AT_ONCE }, () => caller.call(Get, entry)));
  check(`${gets.length} gets at once`, gets.every((got) => holds(got, value)));
  checkSameConnection('many at once', caller.wire);
}

async function checkCompression(server, { Get, Put }, bucket) {
  const entry = { bucket, key: Buffer.from('compressed') };
  const value = Buffer.from('v');
  for (const name of ['gzip', 'deflate']) {
    const algorithm = grpc.compressionAlgorithms[name];
    const caller = await Caller.to(server, { 'grpc.default_compression_algorithm': algorithm });
    for (const [verb, method] of Object.entries({ Get, Put })) {
      const refused = await caller.call(method, { ...entry, value });
      checkEnds(`${verb} in ${name}`, refused, UNIMPLEMENTED, name);
      const [accepted] = refused.tail.get('grpc-accept-encoding');
      check(`${verb} in ${name} is told what is accepted (${accepted})`, accepted === 'identity');
    }
    checkSameConnection(name, caller.wire);
    caller.close();
  }
}

/** Far more than gRPC's own servers bear, which answer the third or so with GOAWAY. */
async function checkKeepalive(server, { Get }, bucket) {
  const caller = await Caller.to(server, {
    'grpc.keepalive_time_ms': 10,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.keepalive_permit_without_calls': 1,
  });
  const { toClient } = caller.wire;
  await caller.wire.until(() => toClient.pingAnswers >= PINGS || toClient.goaways > 0);
  check(`${PINGS} pings without a call are answered`, toClient.goaways === 0);
  const missing = { bucket, key: Buffer.from('missing') };
  checkEnds('get after that', await caller.call(Get, missing), NOT_FOUND);
  checkSameConnection('pings', caller.wire);
  caller.close();
}

module.exports = {
  checkCancelledMidway,
  checkCancelledUnanswered,
  checkCompression,
  checkDeadlines,
  checkKeepalive,
  checkManyAtOnce,
  checkMessages,
  checkMetadata,
};
