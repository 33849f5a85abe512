"""Takes the jobs that were submitted from status to status, pipelines as graphs, and writes down how they go."""

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Coroutine, Mapping
from typing import Any

from flows.engines.local.control.collected import collect
from flows.spec.model.job import OutputPort
from tests.azure_ml_service import control_flow
from tests.azure_ml_service.arm import Arm
from tests.azure_ml_service.definitions import Definition, bound_output, of_command_job, of_nested, of_node, with_nodes
from tests.azure_ml_service.faults import Faults, JobFault
from tests.azure_ml_service.job_process import JobFailed, JobProcesses, exit_message
from tests.azure_ml_service.jobs import (
    TERMINAL,
    children_of,
    ended_properties,
    mark_reused,
    new_child,
    started_properties,
)
from tests.azure_ml_service.messages import Json, Refused
from tests.azure_ml_service.mlflow_part import Mlflow
from tests.azure_ml_service.state import Documents, now

# The statuses before Running, by the type of a job.
_BEFORE_RUNNING = {"Pipeline": ("Preparing",), "Command": ("Queued",)}
_CLUSTER_STATUS = '{"AllocationState":"steady","PreparingNodeCount":0,"RunningNodeCount":1,"CurrentNodeCount":1}'
_HELD = {"stuck_queued": "Queued", "not_responding": "NotResponding", "paused": "Paused"}


class Runner:
    """Runs jobs on an event loop of its own. ``step_seconds`` is how long each status before Running lasts."""

    def __init__(self, documents: Documents, arm: Arm, processes: JobProcesses, mlflow: Mlflow, faults: Faults) -> None:
        self.step_seconds = 0.05
        self._documents = documents
        self._arm = arm
        self._processes = processes
        self._mlflow = mlflow
        self._faults = faults
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="azure-ml-service-jobs", daemon=True)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slow_cancels: dict[str, float] = {}
        self._stopping = False

    def start(self) -> None:
        """Start, and go on with the jobs that had not ended when the service was stopped."""
        self._thread.start()
        for job in self._documents.all("jobs"):
            if job["parent"] is None and job["status"] not in TERMINAL:
                self.submit(job["name"])
                if job["status"] == "CancelRequested":
                    self.cancel(job["name"])

    def stop(self) -> None:
        """End all processes and leave the jobs as they are written down."""
        self._stopping = True
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._processes.stop()
        await self._loop.shutdown_default_executor()

    def submit(self, name: str) -> None:
        """Run a job, which is in the documents."""
        self._loop.call_soon_threadsafe(self._create, name, self._run(name))

    def cancel(self, name: str) -> None:
        """Cancel a job, and with a pipeline what runs of it. One that has ended stays as it is."""
        with self._documents.change("jobs", name) as job:
            if job["status"] in TERMINAL:
                return
            job["status"] = "CancelRequested"
        self._loop.call_soon_threadsafe(self._cancel_task, name)

    def _cancel_task(self, name: str) -> None:
        task = self._tasks.get(name)
        if task is not None and not task.cancelling():
            task.cancel()

    def _create(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._forget(name, task))
        return task

    def _forget(self, name: str, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(name, None)
        self._slow_cancels.pop(name, None)
        if task.cancelled() and not self._stopping and self._documents.get("jobs", name) is not None:
            self._create(name, self._end(name, "Canceled"))  # it was canceled before it had begun

    # A job from its start to its end

    async def _run(self, name: str, definition: Definition | None = None, forced: bool = False) -> None:
        try:
            job = self._job(name)
            if definition is not None and not forced and self._reuse(name, definition):
                return
            faults = self._faults.take_for_job(name, job["step"])
            self._slow_cancels[name] = sum(fault.seconds or 0.0 for fault in faults if fault.kind == "slow_cancel")
            for status in _BEFORE_RUNNING.get(job["submitted"].get("jobType"), ("Preparing", "Queued")):
                await self._pass_through(name, status)
            if not job["parent"]:
                self._add(name, "properties", started_properties(job))
            if job["submitted"].get("jobType") != "Pipeline":
                self._add(name, "tags", {"_aml_system_ComputeTargetStatus": _CLUSTER_STATUS})
            for fault in faults:
                await self._suffer(name, fault)
            self._processes.warm_up()
            self._set(name, "Running", started=now())
            if job["submitted"].get("jobType") == "Pipeline":
                await self._run_graph(name)
            else:
                definition = definition or of_command_job(self._arm, job["submitted"])
                await self._processes.run(name, definition)
                if definition.deterministic:
                    self._documents.put("reuse", definition.key, {"job": name})
            await self._pass_through(name, "Finalizing")
            await self._end(name, "Completed")
        except asyncio.CancelledError:
            if not self._stopping:
                await self._end(name, "Canceled")
        except JobFailed as failure:
            error = {"code": failure.code, "message": str(failure)} if str(failure) else None
            await self._end(name, "Failed", error)
        except Refused as refusal:
            await self._end(name, "Failed", {"code": "UserError", "message": str(refusal)})
        except Exception as error:
            await self._end(name, "Failed", {"code": "ServiceError", "message": f"{type(error).__name__}: {error}"})
            raise

    def _job(self, name: str) -> Json:
        job = self._documents.get("jobs", name)
        assert job is not None
        return job

    def _set(self, name: str, status: str, **values: object) -> None:
        with self._documents.change("jobs", name) as job:
            # What was asked to stop does not look as if it ran on.
            if job["status"] != "CancelRequested" or status in TERMINAL:
                job["status"] = status
                job["history"].append([status, now()])
            job.update(values)

    def _add(self, name: str, field: str, more: Mapping[str, str]) -> None:
        with self._documents.change("jobs", name) as job:
            job[field] |= more

    async def _pass_through(self, name: str, status: str) -> None:
        self._set(name, status)
        await asyncio.sleep(self.step_seconds)

    async def _end(self, name: str, status: str, error: Json | None = None) -> None:
        if status == "Canceled":
            await asyncio.sleep(self.step_seconds + self._slow_cancels.get(name, 0.0))
        self._set(name, status, ended=now(), error=error)
        self._add(name, "properties", ended_properties(self._job(name)))
        self._track(name)

    def _track(self, name: str) -> None:
        """Let MLflow know how a job ended, behind its back."""
        self._create(f"{name} in MLflow", asyncio.to_thread(self._track_end, self._job(name)))

    def _track_end(self, job: Json) -> None:
        with contextlib.suppress(Refused, OSError):  # a workspace whose MLflow is down ends its jobs nevertheless
            self._mlflow.make_run(job)
            if reused := job["properties"].get("azureml.reusedrunid"):
                self._mlflow.copy_run(reused, job["name"])
            self._mlflow.end_run(job["name"], job["status"])

    async def _suffer(self, name: str, fault: JobFault) -> None:
        """Let a fault have its way; returns if the job can go on."""
        if fault.kind == "slow_cancel":
            return  # until it is canceled
        if fault.kind in _HELD or fault.kind == "held":
            self._set(name, _HELD.get(fault.kind, fault.status))
            await self._while_held(fault)
            return
        self._set(name, "Running", started=now())
        log = self._processes.log(name)
        log.write_text(f"An injected fault: {fault.kind}.\n", encoding="utf-8")
        match fault.kind:
            case "hang":
                await self._while_held(fault)
            case "preempt":
                await asyncio.sleep(self.step_seconds)
                message = "The job was preempted: the node that it ran on was taken away (low-priority capacity)."
                raise JobFailed(message, code="ServiceError")
            case _:
                await asyncio.sleep(self.step_seconds)
                raise JobFailed("" if fault.kind == "fail_silently" else exit_message(1, log))

    async def _while_held(self, fault: JobFault) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(fault.seconds):
                while self._faults.holds(fault):
                    await asyncio.sleep(0.05)

    # A pipeline

    async def _run_graph(self, name: str) -> None:
        parent = self._job(name)
        submitted: Json = with_nodes(self._arm, parent["submitted"])
        parent = {**parent, "submitted": submitted}
        nodes: dict[str, Json] = submitted["jobs"]
        settings: Json = submitted.get("settings") or {}
        forced = str(settings.get("force_rerun", False)).lower() == "true"
        goes_on = str(settings.get("continue_on_step_failure", True)).lower() == "true"
        ended: dict[str, str] = {}
        delivered: dict[str, dict[str, Json]] = {}
        running: dict[asyncio.Task[None], tuple[str, str]] = {}
        bodies = {repeated for node in nodes.values() if (repeated := control_flow.body(node))}
        waiting = {step: node for step, node in nodes.items() if step not in bodies}
        for child in children_of(self._documents, name):  # of before the service was stopped
            if child["status"] == "Completed" and child["step"] in waiting:
                self._deliver(name, nodes, child, ended, delivered)
                del waiting[child["step"]]
        try:
            while waiting or running:
                for step, node in list(waiting.items()):
                    needs = control_flow.waits_for(nodes, step)
                    if not set(needs.values()) <= ended.keys():
                        continue
                    del waiting[step]
                    repeated = control_flow.body(node)
                    if not self._can_run(nodes[repeated] if repeated else node, needs, ended):
                        ended |= dict.fromkeys(filter(None, (step, repeated)), "NotStarted")
                        continue
                    if node.get("type") == "if_else":
                        self._decide(node, submitted, delivered, ended)
                        ended[step] = "Completed"
                        continue
                    if ended.get(f"{step} is chosen") == "no":
                        ended[step] = "NotStarted"
                        continue
                    if repeated:
                        loop = self._repeat(parent, step, forced, delivered, ended)
                        running[self._loop_task(loop)] = (step, "")
                        continue
                    child, task = self._start(parent, step, node, delivered, forced)
                    running[task] = (step, child)
                if not running:
                    continue
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    step, child = running.pop(task)
                    if child:
                        self._deliver(name, nodes, self._job(child), ended, delivered)
                    else:
                        task.result()
                    if ended[step] != "Completed" and not goes_on:
                        for other in running:
                            other.cancel()
                        ended |= dict.fromkeys(waiting, "NotStarted")
                        waiting.clear()
        finally:
            for task, (_, child) in running.items():
                if not child:
                    task.cancel()
                    continue
                with contextlib.suppress(KeyError):
                    self._set(child, "CancelRequested")
                task.cancel()
            if running:
                await asyncio.gather(*running, return_exceptions=True)
        failed = [child for child in children_of(self._documents, name) if ended.get(child["step"]) == child["status"]]
        failed = [child for child in failed if child["status"] != "Completed"]
        if failed:
            names = ", ".join(f"/{child['step']}" for child in failed)
            codes = {(child["error"] or {}).get("code", "UserError") for child in failed}
            code = "UserError" if "UserError" in codes else codes.pop()
            text = f"Pipeline has failed child jobs. Failed nodes: {names}. For more details and logs, please go to "
            raise JobFailed(text + "the job detail page and check the child jobs.", code)

    def _decide(
        self, choice: Json, submitted: Json, delivered: Mapping[str, Mapping[str, Json]], ended: dict[str, str]
    ) -> None:
        """Look at the condition of a choice, and note the nodes that it does not choose."""
        values = self._literals(delivered)
        holds = control_flow.is_true(control_flow.bound(choice["condition"], submitted.get("inputs") or {}, values))
        for node in control_flow.block(choice, "false_block" if holds else "true_block"):
            ended[f"{node} is chosen"] = "no"

    def _literals(self, delivered: Mapping[str, Mapping[str, Json]]) -> dict[str, dict[str, str]]:
        """The literal outputs of the nodes that have completed."""
        return {
            step: {
                name: self._arm.path_of(output["uri"]).read_text(encoding="utf-8")
                for name, output in outputs.items()
                if output["type"] in control_flow.LITERALS
            }
            for step, outputs in delivered.items()
        }

    def _loop_task(self, loop: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return self._loop.create_task(loop)

    async def _repeat(
        self,
        parent: Json,
        name: str,
        forced: bool,
        delivered: dict[str, dict[str, Json]],
        ended: dict[str, str],
    ) -> None:
        """Run a loop: its body again and again, or for each of its items."""
        submitted: Json = parent["submitted"]
        nodes: dict[str, Json] = submitted["jobs"]
        node, body = nodes[name], str(control_flow.body(nodes[name]))
        # Iterations of before the service was stopped.
        earlier = iter(
            [
                child
                for child in children_of(self._documents, parent["name"])
                if child["step"] == body and child["status"] == "Completed"
            ]
        )

        async def iterate(number: str, iteration: Json) -> bool:
            child = next(earlier, None)
            if child is None:
                made, task = self._start(parent, body, iteration, delivered, forced)
                try:
                    await asyncio.shield(task)
                except asyncio.CancelledError:
                    with contextlib.suppress(KeyError):
                        self._set(made, "CancelRequested")
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    raise
                child = self._job(made)
            statuses.append(child["status"])
            delivered[f"{body}-{number}"] = child["outputs"]
            return child["status"] == "Completed"

        statuses: list[str] = []
        if node["type"] == "do_while":
            outputs = await self._do_while(node, nodes[body], body, iterate, delivered)
        else:
            outputs = await self._for_each(parent, name, node, nodes[body], body, iterate, delivered)
        status = next((one for one in statuses if one != "Completed"), "Completed")
        ended[name] = ended[body] = status
        if status == "Completed":
            delivers = body if node["type"] == "do_while" else name
            delivered[delivers] = outputs
            self._deliver_outputs(parent["name"], nodes[delivers], outputs)

    async def _do_while(
        self, node: Json, body_node: Json, body: str, iterate: Any, delivered: Mapping[str, Mapping[str, Json]]
    ) -> dict[str, Json]:
        iteration, last = body_node, ""
        for number in range(1, int(node["limits"]["max_iteration_count"]) + 1):
            last = f"{body}-{number}"
            if not await iterate(str(number), iteration):
                break
            condition = node.get("condition")
            if condition is not None and not control_flow.is_true(self._literals(delivered)[last][condition]):
                break
            iteration = control_flow.with_mapping(body_node, node["mapping"], last)
        return dict(delivered[last])

    async def _for_each(
        self,
        parent: Json,
        name: str,
        node: Json,
        body_node: Json,
        body: str,
        iterate: Any,
        delivered: Mapping[str, Mapping[str, Json]],
    ) -> dict[str, Json]:
        value = control_flow.bound(node["items"], parent["submitted"].get("inputs") or {}, self._literals(delivered))
        items = control_flow.items_of(value)
        lanes = asyncio.Semaphore(node.get("max_concurrency") or len(items))

        async def one(item: str, values: Json) -> bool:
            async with lanes:
                return await iterate(item, control_flow.with_values(body_node, values))

        fine = await asyncio.gather(*(one(item, values) for item, values in items.items()))
        if not all(fine):
            return {}
        found: dict[str, Json] = {}
        for output, made in delivered[f"{body}-{next(iter(items))}"].items():
            is_literal = made["type"] in control_flow.LITERALS
            address = f"azureml://datastores/workspaceblobstore/paths/azureml/{parent['name']}/{name}/{output}"
            target = self._arm.path_of(address)
            target.parent.mkdir(parents=True, exist_ok=True)
            sources = {item: self._arm.path_of(delivered[f"{body}-{item}"][output]["uri"]) for item in items}
            await asyncio.to_thread(collect, OutputPort(output, made["type"]), sources, target)
            found[output] = (
                {"type": "string", "uri": address} if is_literal else {"type": "mltable", "uri": f"{address}/"}
            )
        return found

    def _deliver_outputs(self, name: str, node: Json, outputs: Mapping[str, Json]) -> None:
        """Note what a node delivers as outputs of its pipeline."""
        with self._documents.change("jobs", name) as parent:
            for output, given in (node.get("outputs") or {}).items():
                above = bound_output(given)
                if above is not None:
                    parent["outputs"][above] = outputs[output]

    def _can_run(self, node: Json, needs: Mapping[str, str], ended: Mapping[str, str]) -> bool:
        """Whether all that a node cannot do without has completed."""
        if control_flow.is_control(node):
            return all(ended[other] == "Completed" for other in needs.values())
        spec: Json = self._arm.by_id("components", node["componentId"])["properties"]["componentSpec"]
        ports: Json = spec.get("inputs") or {}
        return all(
            ended[other] == "Completed" or str(ports.get(name, {}).get("optional", False)).lower() == "true"
            for name, other in needs.items()
        )

    def _start(
        self, parent: Json, step: str, node: Json, delivered: Mapping[str, Mapping[str, Json]], forced: bool
    ) -> tuple[str, "asyncio.Task[None]"]:
        """Start a node: the name of the child job, and what runs it."""
        if node.get("type") == "pipeline":
            child = self._make_nested(parent, step, node, delivered)
            return child, self._create(child, self._run(child))
        definition = of_node(self._arm, node, parent["submitted"], delivered)
        child = self._make_child(parent, step, node, definition)
        return child, self._create(child, self._run(child, definition, forced))

    def _make_nested(self, parent: Json, step: str, node: Json, delivered: Mapping[str, Mapping[str, Json]]) -> str:
        name = str(uuid.uuid4())
        job = new_child(name, node, parent, step)
        job["submitted"] |= of_nested(self._arm, node, parent["submitted"], delivered)
        self._documents.put("jobs", name, job)
        return name

    def _make_child(self, parent: Json, step: str, node: Json, definition: Definition) -> str:
        name = str(uuid.uuid4())
        job = new_child(name, node, parent, step, definition.code)
        job["outputs"] = self._processes.addresses(name, definition)
        self._documents.put("jobs", name, job)
        return name

    def _deliver(
        self,
        name: str,
        nodes: Mapping[str, Json],
        child: Json,
        ended: dict[str, str],
        delivered: dict[str, dict[str, Json]],
    ) -> None:
        step: str = child["step"]
        ended[step] = child["status"]
        if child["status"] != "Completed":
            return
        delivered[step] = child["outputs"]
        self._deliver_outputs(name, nodes[step], child["outputs"])

    def _reuse(self, name: str, definition: Definition) -> bool:
        """Whether an earlier job stands for this one, which then has that one's outputs."""
        found = self._documents.get("reuse", definition.key) if definition.deterministic else None
        if found is None:
            return False
        earlier = self._job(found["job"])
        with self._documents.change("jobs", name) as job:
            mark_reused(job, earlier)
            job.update(status="Completed", started=now(), ended=now())
        self._track(name)
        return True
