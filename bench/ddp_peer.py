# SPDX-License-Identifier: MIT
"""PyTorch's DistributedDataParallel on Gloo, on the problem of bench/perceptron_peer.cpp, whose line and options it
shares (those that it has): the same pictures, standardised likewise, the same network and kind of first model, batches
drawn from equal iid shards, and the same least time of a gradient. It sleeps before it computes, for that time less
what its own gradient takes, so that what Gloo does while gradients are computed stays as it is. With meet=HOST:PORT,
where rank 0 listens, this process is rank `self` alone, which finds the others over the network device `device`
(bench/thin_links)."""
import gzip
import math
import os
import socket
import statistics
import sys
import tempfile
import time

import numpy
import torch
import torch.distributed
import torch.multiprocessing
import torch.nn.functional


class Choice:
    """What may be given as NAME=VALUE."""

    def __init__(self, words):
        self.data = "/usr/share/datasets/fashion-mnist"
        self.nodes, self.step, self.batch, self.compute, self.slow = 8, 0.1, 32, 0, 1
        self.until, self.look, self.pin, self.seed, self.target, self.samples = 10, 100, 0, 1, 0.8, 0
        self.goal, self.meet, self.self, self.device = 0, "", 0, "lo"
        for word in words:
            name, _, text = word.partition("=")
            if name not in vars(self):
                sys.exit(f"ddp_peer.py: there is no option '{word}'")
            old = getattr(self, name)
            setattr(self, name, text if isinstance(old, str) else float(text))
        self.nodes, self.batch, self.seed, self.self = map(int, (self.nodes, self.batch, self.seed, self.self))


def read_data(folder):
    """Pictures and labels to train on and to test with; every pixel has mean 0 and deviation 1 in the first."""

    def read(name, header):
        with gzip.open(os.path.join(folder, name + ".gz")) as file:
            return numpy.frombuffer(file.read(), numpy.uint8, offset=header)

    train, test = (read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784).astype(numpy.float32) / numpy.float32(255)
                   for part in ("train", "t10k"))
    mean, deviation = train.mean(0, dtype=numpy.float64), train.std(0, dtype=numpy.float64)
    factor = numpy.where(train.min(0) < train.max(0), 1 / numpy.maximum(deviation, 1e-30), 0)
    features = [torch.from_numpy(((part - mean) * factor).astype(numpy.float32)) for part in (train, test)]
    labels = [torch.from_numpy(read(f"{part}-labels-idx1-ubyte", 8).astype(numpy.int64)) for part in ("train", "t10k")]
    return features[0], labels[0], features[1], labels[1]


def fresh_model(seed):
    """Weights normal with variance 2 over the number of inputs, biases 0."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    for layer in (model[0], model[2]):
        torch.nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
        torch.nn.init.zeros_(layer.bias)
    return model


def live(rank, c, data, meet, kept):
    """One process; rank 0 keeps its models."""
    torch.set_num_threads(1)
    if c.pin > 0:
        os.sched_setaffinity(0, {rank % os.cpu_count()})
    os.environ["GLOO_SOCKET_IFNAME"] = c.device
    torch.distributed.init_process_group("gloo", f"tcp://{meet}", rank=rank, world_size=c.nodes)
    features, labels = data[0], data[1]
    model = torch.nn.parallel.DistributedDataParallel(fresh_model(c.seed))
    optimizer = torch.optim.SGD(model.parameters(), lr=c.step)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(c.seed))
    shard = order[rank * len(order) // c.nodes:(rank + 1) * len(order) // c.nodes]
    draw = torch.Generator().manual_seed(1000 * c.seed + rank)
    sleeps = numpy.random.default_rng(1000 * c.seed + rank)

    def backward(wait):
        picked = shard[torch.randint(len(shard), (c.batch,), generator=draw)]
        if wait > 0:
            time.sleep(wait)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(features[picked]), labels[picked]).backward()

    own = []  # how long a gradient takes without a word to the others
    with model.no_sync():
        for _ in range(20):
            begun = time.monotonic()
            backward(0)
            own.append(time.monotonic() - begun)
    own = statistics.median(own)
    mean = 1e-3 * c.compute * (c.slow if rank == c.nodes - 1 else 1)
    spread = math.log1p(0.2 ** 2)
    looks, stop = [], torch.zeros(1)
    torch.distributed.barrier()
    begun, due, k = time.monotonic(), 0.0, 0
    while True:
        now = time.monotonic() - begun
        if rank == 0 and now >= due:
            looks.append((now, k, torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()))
            due = now + 1e-3 * c.look
        if k % 16 == 0:  # all end together
            stop[0] = float(now >= c.until)
            torch.distributed.broadcast(stop, 0)
            if stop[0] > 0:
                break
        backward(mean * math.exp(math.sqrt(spread) * sleeps.standard_normal() - spread / 2) - own if mean > 0 else 0)
        optimizer.step()
        k += 1
    if rank == 0:
        looks.append((now, k, torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()))
        torch.save(looks, kept)
    torch.distributed.barrier()


def accuracy(parameters, data):
    """Of a model that was kept, on the test data."""
    model = fresh_model(0)
    torch.nn.utils.vector_to_parameters(parameters, model.parameters())
    with torch.no_grad():
        return float((model(data[2]).argmax(1) == data[3]).float().mean())


def loss(parameters, data):
    """Of a model that was kept, on the first 2,000 training pictures."""
    model = fresh_model(0)
    torch.nn.utils.vector_to_parameters(parameters, model.parameters())
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(model(data[0][:2000]), data[1][:2000]))


def looks_of_all(c, data):
    """The models of rank 0; nothing in a process of another rank."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        kept = os.path.join(folder, "looks")
        if c.meet:
            live(c.self, c, data, c.meet, kept)
        else:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            torch.multiprocessing.start_processes(live, (c, data, f"127.0.0.1:{port}", kept), nprocs=c.nodes,
                                                  start_method="fork")
        return torch.load(kept) if c.self == 0 else []


def main():
    """As bench/perceptron_peer.cpp."""
    c = Choice(sys.argv[1:])
    data = read_data(c.data)
    looks = looks_of_all(c, data)
    if not looks:
        return
    there = next((at for at, _, x in looks if accuracy(x, data) >= c.target), None)
    full = next((accuracy(x, data) for _, k, x in looks if c.samples > 0 and k * c.nodes * c.batch >= c.samples), None)
    rate = looks[-1][1] * c.nodes * c.batch / looks[-1][0]
    dash = "-"
    fields = ["DDP", "gloo", dash if there is None else f"{there:.2f}", f"{accuracy(looks[-1][2], data):.4f}",
              f"{rate:.0f}", dash if full is None else f"{full:.4f}"]
    if c.goal > 0:
        low = next((at for at, _, x in looks if loss(x, data) <= c.goal), None)
        fields += [dash if low is None else f"{low:.2f}", f"{loss(looks[-1][2], data):.4f}",
                   f"{1e3 * looks[-1][0] / looks[-1][1]:.2f}"]
    print(*fields, sep="\t")


if __name__ == "__main__":
    main()
