// serverless-offline's Lambda server, driven without the Serverless Framework, which would want an account.
// Arguments: the folder of the functions' modules, the port, and the functions as JSON: [{ name, timeout }].
import Lambda from 'serverless-offline/lambda';

const [folder, port, functions] = process.argv.slice(2);
const serverless = {
  config: { serverlessPath: folder, servicePath: folder },
  service: { service: 'conformance', provider: { region: 'us-east-1', runtime: 'nodejs22.x' } },
  serviceDir: folder,
};
const lambda = new Lambda(serverless, {
  host: '127.0.0.1',
  lambdaPort: Number(port),
  terminateIdleLambdaTime: 600,
  // In this process, which is theirs alone: a thread for each of many calls at once takes a second to start.
  useInProcess: true,
});
lambda.create(
  JSON.parse(functions).map(({ name, timeout }) => ({
    functionKey: name,
    functionDefinition: { name, timeout, handler: `${name}.handler` },
  })),
);
await lambda.start();
process.stdout.write('ready\n');
