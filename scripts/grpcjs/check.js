// Checks a node or a router; run by grpcjs.sh. The first check that fails ends the program with exit code 1.

'use strict';

const { randomBytes } = require('node:crypto');
const { Caller, methodsOf } = require('./caller.js');
const { checkSameConnection, fail } = require('./expect.js');
const { checkHealth } = require('./health.js');
const protocol = require('./protocol.js');
const { checkOptions, checkRefusals, checkValues } = require('./service.js');

/** All checks take a few seconds; what takes longer has come to a standstill. */
const TIMEOUT_MS = 120_000;

async function main() {
  const [service, server] = process.argv.slice(2);
  const methods = methodsOf(service);
  // A bucket of this run's own, so that what is there already is in nobody's way.
  const bucket = `grpcjs-${process.pid}-${randomBytes(4).toString('hex')}`;
  const caller = await Caller.to(server);
  await checkValues(caller, methods, bucket);
  await checkOptions(caller, methods, bucket);
  await checkRefusals(caller, methods, bucket);
  checkSameConnection('values and refusals', caller.wire);
  await protocol.checkMetadata(caller, methods, bucket);
  await protocol.checkMessages(caller, methods, bucket);
  await protocol.checkDeadlines(caller, methods, bucket);
  await protocol.checkCancelledMidway(caller, methods, bucket);
  await protocol.checkCancelledUnanswered(caller, methods, bucket);
  await protocol.checkManyAtOnce(caller, methods, bucket);
  await checkHealth(caller, methods.name);
  caller.close();
  await protocol.checkCompression(server, methods, bucket);
  await protocol.checkKeepalive(server, methods, bucket);
  console.log(`${service} at ${server}: all as the proto files, gRPC and HTTP/2 say`);
}

const standsStill = `not done after ${TIMEOUT_MS} ms: what follows the last ok stands still`;
const standstill = setTimeout(fail, TIMEOUT_MS, standsStill);
main().then(
  () => clearTimeout(standstill),
  (error) => fail(error.stack),
);
