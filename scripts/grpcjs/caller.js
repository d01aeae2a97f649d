// Calls of one of the services with grpc-js, over one connection that is watched.

'use strict';

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const { Wire } = require('./wire.js');

const PROTO_FOLDER = path.join(__dirname, '../../milena-protos/proto');
const TIMEOUT_MS = 60_000;

const same = (bytes) => bytes;

/** A method as grpc-js takes it. */
const parts = ({ path, requestSerialize, responseDeserialize }) => [
  path,
  requestSerialize,
  responseDeserialize,
];

/** A method of this path, with requests and answers in bytes. */
function inBytes(methodPath) {
  return { path: methodPath, requestSerialize: same, responseDeserialize: same };
}

/** The methods that the proto file of `cache` or `router` has. */
function methodsOf(service) {
  const file = path.join(PROTO_FOLDER, `${service}_server.proto`);
  const definition = protoLoader.loadSync(file, { keepCase: true, longs: String, defaults: true });
  const name = service === 'cache' ? 'cache_server.Cache' : 'router_server.Router';
  return { name, ...definition[name] };
}

class Caller {
  #client;

  constructor(wire, options) {
    this.wire = wire;
    this.#client = new grpc.Client(wire.address, grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.enable_http_proxy': 0,
      ...options,
    });
  }

  /** Connected to `server`, with these options of a channel. */
  static async to(server, options = {}) {
    const caller = new Caller(await Wire.to(server), options);
    await new Promise((resolve, reject) => {
      const connected = (error) => (error ? reject(error) : resolve());
      caller.#client.waitForReady(Date.now() + TIMEOUT_MS, connected);
    });
    return caller;
  }

  /** Begins a call; `outcome` is how it ends, which is never an exception. */
  begin(method, request, { metadata = new grpc.Metadata(), timeoutMs = TIMEOUT_MS } = {}) {
    const options = { deadline: Date.now() + timeoutMs };
    return this.#outcomeOf((answered) =>
      this.#client.makeUnaryRequest(...parts(method), request, metadata, options, answered),
    );
  }

  /** The same, of a call whose request does not end by itself and whose caller has no deadline of its own. */
  beginOpen(method, metadata = new grpc.Metadata()) {
    return this.#outcomeOf((answered) =>
      this.#client.makeClientStreamRequest(...parts(method), metadata, {}, answered),
    );
  }

  /** How a call ends. */
  call(method, request, options) {
    return this.begin(method, request, options).outcome;
  }

  /** Begins a call whose answers are a stream. */
  beginStream(method, request) {
    return this.#client.makeServerStreamRequest(...parts(method), request);
  }

  close() {
    this.#client.close();
    this.wire.close();
  }

  #outcomeOf(start) {
    let call;
    const outcome = new Promise((resolve) => {
      let answer;
      let head = new grpc.Metadata();
      call = start((_error, message) => {
        answer = message;
      });
      call.on('metadata', (metadata) => {
        head = metadata;
      });
      // The last event of a call, whether it has failed or not.
      call.on('status', ({ code, details, metadata }) => {
        resolve({ code, details, answer, head, tail: metadata });
      });
    });
    return { call, outcome };
  }
}

module.exports = { Caller, grpc, inBytes, methodsOf };
