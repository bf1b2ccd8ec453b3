# One image for every process of threadsync; the command says which. Embedded servers are not in it.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/threadsync
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY worker worker
COPY tasks tasks
COPY handlers handlers
COPY console console
COPY sandbox sandbox
RUN /opt/threadsync/bin/pip install --no-cache-dir --constraint constraints.txt '.[otel]' 'flower>=2.0.1,<3' \
 && /opt/threadsync/bin/pip uninstall --yes pip

FROM python:3.13-slim
# /var/lib/threadsync: an empty volume takes its owner from here. Group 0 writes there too, for platforms that run a
# container with any uid and that group.
RUN groupadd --system --gid 10001 threadsync \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin threadsync \
 && install --directory --owner threadsync --group root --mode 0775 /var/lib/threadsync
COPY --from=build /opt/threadsync /opt/threadsync
ENV PATH=/opt/threadsync/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER threadsync
# No modules here: Celery puts its working directory first on the import path.
WORKDIR /opt/threadsync
CMD ["threadsync", "--help"]
