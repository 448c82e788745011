import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { sftpOptions } from './options.ts';
import { KEYGEN } from './sshd.fixture.ts';

const problems = (private_key: string) =>
  sftpOptions
    .safeParse({
      endpoint: 'sftp://u@host',
      host_key: `SHA256:${'A'.repeat(43)}`,
      ...{ private_key, passphrase: 'p' },
    })
    .error?.issues.map(({ path, message }) => [path.join('.'), message]);

const string = (bytes: Buffer): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

function encrypted(rounds: number): string {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(rounds);
  const options = Buffer.concat([string(randomBytes(16)), count]);
  const names = ['aes256-ctr', 'bcrypt'].map((name) => string(Buffer.from(name)));
  const key = Buffer.concat([Buffer.from('openssh-key-v1\0'), ...names, string(options), randomBytes(200)]);
  return `\n-----BEGIN OPENSSH PRIVATE KEY-----\n${key.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`;
}

it('refuses a key that would be derived for longer than anything else could wait', () => {
  expect(problems(encrypted(100))).toBeUndefined();
  for (const rounds of [101, 2 ** 31, 2 ** 32 - 1])
    expect(problems(encrypted(rounds))).toEqual([['private_key', expect.stringContaining('100 rounds')]]);
  expect(problems(encrypted(101).replaceAll('\n', '\r\n'))).toHaveLength(1);
});

it('refuses a key that would be signed with for as long', () => {
  expect(problems('x'.repeat(8193))).toEqual([['private_key', expect.stringContaining('8192 characters')]]);
});

it('takes the keys that people have', () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 4096 });
  expect(problems(privateKey.export({ type: 'pkcs1', format: 'pem' }).toString())).toBeUndefined();
});

it('takes a key that OpenSSH encrypted', ({ skip }) => {
  skip(!existsSync(KEYGEN), 'this machine has no ssh-keygen');
  const folder = mkdtempSync(join(tmpdir(), 'key-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'key');
  execFileSync(KEYGEN, ['-q', '-t', 'ed25519', '-a', '32', '-N', 'p', '-f', file]);
  expect(problems(readFileSync(file, 'utf8'))).toBeUndefined();
});
