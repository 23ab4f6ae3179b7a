// Prints each record of a topic as a JSON line, until so many have come:
//   node read.js BOOTSTRAP TOPIC GROUP COUNT
// kafkajs reads what is committed and nothing else, unless it is told otherwise (readUncommitted).
const zlib = require('node:zlib');
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require('kafkajs');
const lz4 = require('lz4js');
const snappy = require('kafkajs-snappy');

// kafkajs itself knows gzip. The rest is for its users to add; zstd comes with Node.js.
const readOnly = (decompress) => () => ({
  compress: () => { throw new Error('this program writes nothing'); },
  decompress: async (buffer) => Buffer.from(decompress(buffer)),
});
CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = readOnly(lz4.decompress);
CompressionCodecs[CompressionTypes.ZSTD] = readOnly(zlib.zstdDecompressSync);

const [bootstrap, topic, groupId, count] = process.argv.slice(2);
const base64 = (bytes) => (bytes === null ? null : Buffer.from(bytes).toString('base64'));

async function main() {
  const kafka = new Kafka({ brokers: bootstrap.split(','), clientId: 'contract', logLevel: logLevel.ERROR });
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100 });
  let seen = 0;
  let done;
  const enough = new Promise((resolve) => { done = resolve; });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      if (seen === Number(count)) return;
      // A header that comes twice is an array here; ours never do.
      const headers = Object.entries(message.headers).map(([name, value]) => [name, base64(value)]);
      process.stdout.write(`${JSON.stringify({
        partition,
        offset: Number(message.offset),
        key: base64(message.key),
        value: base64(message.value),
        headers,
      })}\n`);
      seen += 1;
      if (seen === Number(count)) done();
    },
  });
  await enough;
  await consumer.disconnect();
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
