# mmlesion with everything it needs, installed by requirements/install.sh.
#
#   docker build -t mmlesion .                                     # CPU
#   docker build -t mmlesion:cuda --build-arg CUDA=1 \
#       --build-arg BASE=nvidia/cuda:13.0.2-devel-ubuntu24.04 .    # CUDA
#   docker run --rm -v "$PWD":/data -w /data mmlesion detect ...
#
# TORCH takes what `pip install` takes, e.g. a CPU-only build of torch with the
# index that has it. The CUDA version of the base and of torch must agree.
ARG BASE=debian:bookworm-slim
FROM ${BASE} AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        build-essential ca-certificates make python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /mmlesion
ARG TORCH=torch==2.13.0
ARG CUDA=0
ARG TORCH_CUDA_ARCH_LIST="8.0;8.6;9.0+PTX"
COPY requirements requirements
COPY Makefile pyproject.toml setup.py README.md LICENSE model-index.yml ./
COPY mmlesion mmlesion
COPY configs configs
COPY tools tools
COPY zoo zoo
RUN TORCH="$TORCH" CUDA="$CUDA" MMLESION_CACHE=/mmlesion/.cache make install \
    && rm -rf .build .cache && find .venv -name '*.a' -delete

FROM ${BASE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /mmlesion /mmlesion
ENV PATH=/mmlesion/.venv/bin:$PATH
ENTRYPOINT ["mmlesion"]
CMD ["--help"]
