# One image for every process of threadsync; the command says which. Embedded servers are not in it.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY worker worker
COPY tasks tasks
COPY handlers handlers
COPY console console
COPY sandbox sandbox
RUN python -m venv /opt/threadsync \
 && /opt/threadsync/bin/pip install --no-cache-dir --constraint constraints.txt . flower

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin threadsync
COPY --from=build /opt/threadsync /opt/threadsync
ENV PATH=/opt/threadsync/bin:$PATH PYTHONUNBUFFERED=1
USER threadsync
# No modules here: Celery puts its working directory first on the import path.
WORKDIR /opt/threadsync
CMD ["threadsync", "--help"]
