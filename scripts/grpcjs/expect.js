// Says what holds, and ends the program with exit code 1 at the first thing that does not.

'use strict';

const { grpc } = require('./caller.js');

function fail(what) {
  console.error(`FAILED: ${what}`);
  process.exit(1);
}

function check(what, holds) {
  if (!holds) {
    fail(what);
  }
  console.log(`ok: ${what}`);
}

/** `outcome` has one of these status codes (or this one), and its text contains `naming`. */
function checkEnds(what, outcome, codes, naming = '') {
  const { code, details } = outcome;
  const expected = [codes].flat().includes(code) && details.includes(naming);
  check(`${what} (answered: ${grpc.status[code]}: ${details})`, expected);
}

/** A get has ended with this value. */
function holds({ code, answer }, value) {
  return code === grpc.status.OK && answer?.successful && answer.value.equals(value);
}

/** All so far went over one connection, which the server has not given up. */
function checkSameConnection(what, wire) {
  check(`${what}: the connection goes on`, wire.connections === 1 && wire.toClient.goaways === 0);
}

module.exports = { check, checkEnds, checkSameConnection, fail, holds };
