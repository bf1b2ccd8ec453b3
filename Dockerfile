# One image for every process of threadsync; the command says which. Neither embedded servers nor the sandbox are in it.
# By version: Debian's fixes come under the same tag. To pin a digest too: docs/operate/supply-chain.md.
FROM python:3.13.18-slim-trixie AS build
WORKDIR /src
# What others wrote comes by its hashes. The build tools are this stage's, and stay here.
COPY locks/build.txt locks/image.txt locks/
RUN pip install --no-cache-dir --root-user-action ignore --require-hashes --requirement locks/build.txt
RUN python -m venv --without-pip /opt/threadsync \
 && pip --python /opt/threadsync/bin/python install --no-cache-dir --require-hashes --requirement locks/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY threadsync threadsync
COPY worker worker
COPY tasks tasks
COPY handlers handlers
COPY console console
# hatchling leaves out of the wheel what is not here: the sandbox.
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && pip --python /opt/threadsync/bin/python install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.13.18-slim-trixie
# /var/lib/threadsync: an empty volume takes its mode from here. Any uid may make a folder of its own there, for platforms
# that choose one, and nobody takes another's away.
RUN groupadd --system --gid 10001 threadsync \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin threadsync \
 && install --directory --mode 1777 /var/lib/threadsync
COPY --from=build /opt/threadsync /opt/threadsync
ENV PATH=/opt/threadsync/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER threadsync
# No modules here: Celery puts its working directory first on the import path.
WORKDIR /opt/threadsync
CMD ["threadsync", "--help"]
