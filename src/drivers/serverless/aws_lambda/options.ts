import { z } from 'zod';
import {
  awsIdentityOptions,
  endpointOption,
  regionOption,
  withWholeIdentity,
} from '../../../clouds/aws/options.ts';

export const lambdaOptions = withWholeIdentity(
  z.strictObject({
    endpoint: endpointOption()
      .optional()
      .describe(
        'Base URL of an interface endpoint in a VPC or of an emulator. Absent, it is that of AWS Lambda in the region.',
      ),
    region: regionOption().describe('Region of the functions, which is part of every signature.'),
    qualifier: z
      .string()
      // As the API's reference has it: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html (read 2026-11-28).
      .regex(/^(?:\$LATEST|[A-Za-z0-9_-]{1,128})$/, 'is a version, an alias or $LATEST')
      .optional()
      .describe(
        'Version or alias that is invoked of each function, unless its name has one (`name:alias`). Absent, it is the newest code, not yet published.',
      ),
    ...awsIdentityOptions,
    role_arn: awsIdentityOptions.role_arn.describe(
      'Role that is assumed with the credentials, anew before an hour is over; it alone invokes and lists.',
    ),
    tenant_id: z
      .string()
      // Both as the reference above has it, and https://docs.aws.amazon.com/lambda/latest/dg/tenant-isolation-invoke.html (read 2026-11-28).
      .regex(/^[A-Za-z0-9._:/=+@ -]{1,256}$/, 'is 1 to 256 letters, digits, spaces and any of ._:/=+-@')
      .optional()
      .describe(
        'Whose execution environments run functions that keep tenants apart (tenant isolation mode).',
      ),
    ca: z
      .string()
      .optional()
      .describe('Certificates in PEM that are trusted instead of the well-known ones.'),
  }),
);
export type LambdaOptions = z.output<typeof lambdaOptions>;
