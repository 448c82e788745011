import { defineServerlessDriver } from '../../../driver.ts';
import { openLambda } from './open.ts';
import { lambdaOptions } from './options.ts';
import { LAMBDA_PEERS, PAYLOAD_BYTES, RESULT_BYTES } from './sdk.ts';

export default defineServerlessDriver({
  kind: 'serverless',
  id: 'aws_lambda',
  title: 'AWS Lambda',
  remote: true,
  peers: LAMBDA_PEERS,
  options: lambdaOptions,
  capabilities: {
    deploy: false,
    logs: false,
    native: 'follow',
    limits: {
      payloadBytes: PAYLOAD_BYTES,
      resultBytes: RESULT_BYTES,
      // https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html (read 2026-11-28)
      timeoutSeconds: 900,
    },
  },
  open: openLambda,
});
