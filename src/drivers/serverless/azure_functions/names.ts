import { invalidField } from '../../../driver.ts';

// `FunctionNameValidationRegex` of the host, https://github.com/Azure/azure-functions-host (read 2026-11-28).
export const FUNCTION_NAME = /^(?!host$)[A-Za-z][A-Za-z0-9_-]{0,127}$/i;

/** @throws ConnectorError `invalid_argument` for what the host would not take as a function's name. */
export function checkFunctionName(name: string): void {
  if (!FUNCTION_NAME.test(name))
    throw invalidField('name', 'is a letter and at most 127 letters, digits, _ and -, and not host');
}
