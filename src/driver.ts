/** Everything that a driver's author imports. */
export { bodyWithin } from './contract/body-within.ts';
export {
  clientCredentials,
  tokenUrl,
  type AccessTokens,
  type ClientCredentialsOptions,
} from './contract/client-credentials.ts';
export { cancelled, systemClock, sleep, type Clock } from './contract/clock.ts';
export {
  connectionFailure,
  grpcFailure,
  httpFailure,
  networkFailure,
  quoted,
  type HttpFailure,
  unsent,
} from './contract/backend-error.ts';
export {
  reach,
  targetOf,
  type Agents,
  type Fetcher,
  type FetcherOptions,
  type Network,
  type Target,
} from './contract/network.ts';
export type { Client, Log, Note, OpenContext, Progress } from './contract/driver.ts';
export { adminOnly, secret } from './contract/options.ts';
export { loadPeer } from './contract/peers.ts';
export { parseRetryAfter } from './contract/retry-after.ts';
export { parseWith } from './contract/validate.ts';
export { ERROR_CODES, type ErrorCode } from './errors/codes.ts';
export {
  asConnectorError,
  ConnectorError,
  invalidField,
  isConnectorError,
  type FieldIssue,
} from './errors/error.ts';
export * from './connectors/vector/driver.ts';
export {
  evaluate,
  fieldsOf,
  matches,
  parseFilter,
  valueAt,
  type FilterNode,
  type Scalar,
} from './connectors/vector/filter.ts';
export { inTerms, numbersOf, termsOf, type TermFilter } from './connectors/vector/terms.ts';
export { nearer } from './connectors/vector/score.ts';
export * from './connectors/file/driver.ts';
export { fromHeaderValue, headerValue } from './connectors/file/metadata.ts';
export { byteOrder } from './connectors/file/order.ts';
export { spanOf } from './connectors/file/range.ts';
export {
  cursorAfter,
  inKeyOrder,
  joinedPath,
  nameOf,
  pathInCursor,
  treePage,
  type EntryKey,
  type FolderReader,
  type TreePage,
} from './connectors/file/tree.ts';
export * from './connectors/serverless/driver.ts';
export {
  failureOf,
  httpAnswer,
  httpOutcome,
  invocationHeaders,
  MAX_FAILURE_BYTES,
  type HttpAnswer,
} from './connectors/serverless/http-outcome.ts';
export { withinTime } from './connectors/serverless/within-time.ts';
