<?php
// SPDX-FileCopyrightText: The redis_ha.sentinel authors
// SPDX-License-Identifier: GPL-3.0-or-later

// One application that writes with a client library of PHP; writer.py says what it reads and writes.

$configuration = json_decode(file_get_contents($argv[1]), true);
$writer = (int) $argv[2];
$settings = $configuration['settings'];
$directory = $configuration['directory'];

interface Application
{
    public function set(string $key, string $value): void;

    public function reset(): void;
}

class PredisApplication implements Application
{
    private $client;

    public function __construct(private array $configuration)
    {
        require_once 'Predis/autoload.php';
        $sentinels = array_map(fn ($address) => "tcp://$address[0]:$address[1]?timeout=1", $configuration['sentinels']);
        $this->client = new Predis\Client($sentinels, [
            'replication' => 'sentinel',
            'service' => $configuration['master_name'],
        ]);
        $settings = $configuration['settings'];
        if (isset($settings['retry_wait_ms'])) {
            $this->client->getConnection()->setRetryWait($settings['retry_wait_ms']);
            $this->client->getConnection()->setRetryLimit($settings['retry_limit']);
        }
    }

    public function set(string $key, string $value): void
    {
        $this->client->set($key, $value);
    }

    public function reset(): void
    {
        $this->__construct($this->configuration);
    }
}

class PhpredisApplication implements Application
{
    private ?Redis $client = null;

    public function __construct(private array $configuration)
    {
    }

    public function set(string $key, string $value): void
    {
        $this->client ??= $this->connect();
        if ($this->client->set($key, $value) !== true) {
            throw new RedisException($this->client->getLastError() ?? 'no answer');
        }
    }

    public function reset(): void
    {
        $this->client = null;
    }

    private function connect(): Redis
    {
        foreach ($this->configuration['sentinels'] as [$host, $port]) {
            try {
                $sentinel = new RedisSentinel($host, $port, 1.0);
                $master = $sentinel->getMasterAddrByName($this->configuration['master_name']);
            } catch (RedisException) {
                continue;
            }
            if (is_array($master)) {
                $client = new Redis();
                $client->connect($master[0], (int) $master[1], 1.0);
                return $client;
            }
        }
        throw new RedisException('No Sentinel names a master');
    }
}

function attempt(Application $application, string $key, string $value, array $settings): void
{
    for ($left = $settings['again'] ?? 0; ; $left--) {
        try {
            $application->set($key, $value);
            return;
        } catch (Exception $error) {
            if (!empty($settings['reset'])) {
                $application->reset();
            }
            if ($left === 0) {
                throw $error;
            }
            usleep($settings['again_ms'] * 1000);
        }
    }
}

error_reporting(E_ALL & ~E_DEPRECATED & ~E_WARNING & ~E_NOTICE);
$applications = ['predis' => PredisApplication::class, 'phpredis' => PhpredisApplication::class];
$application = new $applications[$configuration['library']]($configuration);
$records = fopen("$directory/writer-$writer.jsonl", 'w');
$counters = fopen("$directory/counters", 'r+');
stream_set_write_buffer($counters, 0);
$counts = [0, 0];
$deadline = hrtime(true) + $configuration['max_s'] * 1e9;
for ($sequence = 0; !file_exists("$directory/stop") && hrtime(true) < $deadline; $sequence++) {
    $began = hrtime(true);
    $said = ['acknowledged'];
    try {
        attempt($application, "{$configuration['key_prefix']}$writer:$sequence", (string) $sequence, $settings);
    } catch (Exception $error) {
        $said = ['error', get_class($error) . ': ' . $error->getMessage()];
    }
    fwrite($records, json_encode([$sequence, $began, hrtime(true), ...$said]) . "\n");
    $failed = $said[0] === 'error' ? 1 : 0;
    fseek($counters, 16 * $writer + 8 * $failed);
    fwrite($counters, pack('P', ++$counts[$failed]));
    usleep((int) (($failed ? 10 : $configuration['pause_ms']) * 1000));
}
