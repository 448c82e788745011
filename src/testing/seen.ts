/** What answered the suite: a real engine, or a double that validates requests against the published contract. */
export type SuiteEngine = {
  readonly mode: 'live' | 'wire';
  /** The engine and its version, without what changes from run to run; of a double, the contract that it holds to. */
  readonly name: string;
};
