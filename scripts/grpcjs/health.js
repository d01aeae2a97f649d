// gRPC's health service, whose proto file is not ours: what is used of it is written here as proto-loader takes it.

'use strict';

const protoLoader = require('@grpc/proto-loader');
const { grpc } = require('./caller.js');
const { check, checkEnds, checkSameConnection } = require('./expect.js');

// health.proto of grpc/grpc-proto.
const { Check, Watch } = protoLoader.fromJSON(
  {
    nested: {
      'grpc.health.v1': {
        nested: {
          HealthCheckRequest: { fields: { service: { type: 'string', id: 1 } } },
          HealthCheckResponse: {
            fields: { status: { type: 'ServingStatus', id: 1 } },
            nested: {
              ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } },
            },
          },
          Health: {
            methods: {
              Check: { requestType: 'HealthCheckRequest', responseType: 'HealthCheckResponse' },
              Watch: {
                requestType: 'HealthCheckRequest',
                responseType: 'HealthCheckResponse',
                responseStream: true,
              },
            },
          },
        },
      },
    },
  },
  { enums: String },
)['grpc.health.v1.Health'];

async function checkHealth(caller, serviceName) {
  for (const service of ['', serviceName]) {
    const { answer } = await caller.call(Check, { service });
    check(`health of "${service}" (${answer?.status})`, answer?.status === 'SERVING');
  }
  const unknown = await caller.call(Check, { service: 'no.Service' });
  checkEnds('health of what is not there', unknown, grpc.status.NOT_FOUND);

  const watch = caller.beginStream(Watch, { service: serviceName });
  const first = await new Promise((resolve, reject) => watch.once('data', resolve).once('error', reject));
  check(`health is watched (${first.status})`, first.status === 'SERVING');
  const ended = new Promise((resolve) => watch.once('error', resolve));
  watch.cancel();
  check('until nobody watches', (await ended).code === grpc.status.CANCELLED);
  const { answer } = await caller.call(Check, { service: '' });
  check('health after that', answer?.status === 'SERVING');
  checkSameConnection('health', caller.wire);
}

module.exports = { checkHealth };
