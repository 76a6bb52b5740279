"""The training loop of both stages: steps, checkpoints, an average of the weights, measuring, several GPUs.

Devices, processes and mixed precision are Hugging Face Accelerate's: one process needs no launcher, several
are started with `accelerate launch` or `torchrun`.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ovseg_ros.core.encoders import TextCache
from ovseg_ros.errors import ConfigError, OutOfMemoryError
from ovseg_ros.learn.pairs.index import PairIndex, open_pairs
from ovseg_ros.learn.training.contrastive import GlobalBatch, contrastive_loss, noun_ids
from ovseg_ros.learn.training.data import PairBatch, PairDataset, PairOrder, load_batches, split_by_image
from ovseg_ros.learn.training.held_out import HeldOut
from ovseg_ros.learn.training.processes import Processes
from ovseg_ros.learn.training.recipes import Recipe, recipe_values
from ovseg_ros.learn.training.state import Checkpoints, History, check_same
from ovseg_ros.learn.training.task import Forward, Task, TrainingError, learning_rate

_LOG = logging.getLogger(__name__)
Report = Callable[[Mapping[str, Any]], None]


_NOUNS = 1_000_000  # whose embeddings are kept: more than captions have
SAID = 20
"""So many skipped pairs are named on the way; `skipped.json` has all of them."""


class Trainer:
    """Trains a task on a data set of pairs, in place.

    Args:
        task: what is trained.
        pairs: the data set.
        recipe: how.
        out: the run's folder, made when needed.
        held_out: data set to measure on; None takes a share of the images of `pairs`, see the recipe.
        device: "cpu", "cuda" …; of several processes each takes its own GPU.
        resume: go on from the newest checkpoint, if there is one.
        report: gets each record of the history, and messages.
    """

    def __init__(
        self,
        task: Task,
        pairs: Path,
        recipe: Recipe,
        out: Path,
        *,
        held_out: Path | None = None,
        device: str = "cpu",
        resume: bool = False,
        report: Report | None = None,
    ) -> None:
        """See the class.

        Raises:
            InvalidInputError: a data set that cannot be used.
            ConfigError: a recipe that does not fit data, model or device; a folder with another run in it.
        """
        self.task, self.recipe, self.out = task, recipe, Path(out)
        self.checkpoints = Checkpoints(self.out, recipe.keep_checkpoints)
        if not resume and self.checkpoints.files():
            raise ConfigError(
                f"{self.out} already holds a run; --resume goes on with it, or name another folder"
            )
        self.processes = Processes(device, recipe.precision)
        torch.manual_seed(recipe.seed + self.processes.rank)
        self._report = report if report is not None and self.processes.is_first else None
        train, self.held_out = self._data(pairs, held_out)
        self.fingerprint = train.fingerprint
        self.order = PairOrder(
            train.shard,
            recipe.batch,
            seed=recipe.seed,
            buffer=recipe.shuffle_buffer,
            rank=self.processes.rank,
            ranks=self.processes.count,
        )
        data = PairDataset(train, task.clip.size, recipe.augment, seed=recipe.seed)
        self.loader = load_batches(data, self.order, recipe.workers, pin=self.processes.on_gpu)
        self.steps = recipe.epochs * len(self.order)
        if recipe.max_steps is not None:
            self.steps = min(self.steps, recipe.max_steps)
        self.model, self.optimizer = self.processes.accelerator.prepare(Forward(task), self._optimizer())
        task.clip.text_cache = TextCache(_NOUNS)  # the text tower is locked: each noun is encoded once
        self.average = {name: p.detach().clone() for name, p in task.parameters.items()}
        self.step, self.waited_s, self.busy_s = 0, 0.0, 0.0
        self._losses: list[float] = []
        self.history = History(self.out)
        if self.processes.is_first:
            self.out.mkdir(parents=True, exist_ok=True)
        if resume:
            self._resume()
        if self.processes.is_first:
            self.history.cut(self.step or -1)

    def _data(self, pairs: Path, held_out: Path | None) -> tuple[PairIndex, HeldOut | None]:
        recipe, size = self.recipe, self.task.clip.size
        train = open_pairs(pairs)
        self.skipped: dict[str, str] = {}
        self._skip(train.problems)
        if not train.manifest.get("complete", True):
            self._say(f"the collection of {pairs} was not finished; training on what is there")
        if held_out is not None:
            measured = open_pairs(held_out)
            self._skip(measured.problems)
        else:
            train, measured = split_by_image(train, recipe.held_out if recipe.held_out_pairs else 0.0)
        test = None
        if len(measured) and recipe.held_out_pairs:
            test = HeldOut(
                measured,
                size,
                limit=recipe.held_out_pairs,
                view=recipe.augment.plain,
                rank=self.processes.rank,
                ranks=self.processes.count,
            )
            self._skip(test.skipped)
        self._say(f"{len(train)} pairs to train on, {test.count if test else 0} to measure on")
        return train, test

    def _optimizer(self) -> torch.optim.Optimizer:
        recipe, parameters = self.recipe, self.task.parameters.values()
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon)

    def run(self) -> dict[str, Any]:
        """Trains to the end; the average of the weights, where one is kept, is in them afterwards.

        Returns:
            The last measurement with steps, seconds, waiting share and what was skipped.

        Raises:
            TrainingError: loss or gradient are no numbers any more; the last good state is saved.
            InvalidInputError: no pair can be read.
        """
        began = time.monotonic()
        last: dict[str, Any] = {}
        if self.step == 0 and self.held_out is not None:
            last = self._measure(0)
        while self.step < self.steps:
            epoch, self.order.first = divmod(self.step, len(self.order))
            self.order.epoch = epoch
            self._epoch()
            last = self._measure(epoch + 1)
            self._save()
        self._swap(self.average if self.recipe.average else {})
        total = max(self.waited_s + self.busy_s, 1e-9)
        return {
            **{key: last[key] for key in ("top1", "cosine", "pairs", "nouns") if key in last},
            "steps": self.step,
            "seconds": round(time.monotonic() - began, 1),
            "waiting": round(self.waited_s / total, 4),
            "skipped": len(self.skipped),
        }

    def _epoch(self) -> None:
        """Steps to the end of an epoch, or of the run."""
        self._training(True)
        first, since, waited = self.step, time.monotonic(), 0.0
        batches = iter(self.loader)
        while self.step < self.steps:
            start = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                break
            loaded = time.monotonic()
            try:
                self._losses.append(self._take_step(batch))
            except torch.OutOfMemoryError as error:
                raise OutOfMemoryError(
                    f"the device ran out of memory at step {self.step + 1} with batch {self.recipe.batch}; "
                    "set gradient_checkpointing=true, a smaller batch, or take more GPUs"
                ) from error
            self.waited_s += loaded - start
            self.busy_s += time.monotonic() - loaded
            waited += loaded - start
            if self.step % self.recipe.log_every == 0 or self.step == self.steps:
                seconds = max(time.monotonic() - since, 1e-9)
                self._record(
                    {
                        "loss": sum(self._losses) / len(self._losses),
                        "learning_rate": learning_rate(self.recipe, self.step - 1, self.steps),
                        "pairs_per_s": round((self.step - first) * self.recipe.batch / seconds, 1),
                        "waiting": round(waited / seconds, 4),
                    }
                )
                self._losses = []
                first, since, waited = self.step, time.monotonic(), 0.0
            ends = self.step == self.steps or self.step % len(self.order) == 0
            if self.step % self.recipe.save_every == 0 and not ends:
                self._save()

    def _take_step(self, batch: PairBatch) -> float:
        """One step; returns the loss of the whole batch."""
        self._skip(dict(batch.skipped))
        recipe, processes = self.recipe, self.processes
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step, self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        images, scale = self.model(batch.pixels.to(processes.device), batch.masks.to(processes.device))
        whole = GlobalBatch(processes.accelerator.gather, processes.rank, processes.count)
        loss = contrastive_loss(
            whole.all(images.float()),
            whole.all(self.task.clip.encode_text(batch.nouns, self.task.templates)),
            whole.all(noun_ids(batch.nouns).to(processes.device)),
            scale,
            same_noun=recipe.same_noun,
            distance=recipe.distance,
        )
        value = loss.item()
        if not math.isfinite(value):
            self._diverged(f"the loss is {value}")
        norm = processes.backward(loss, self.task.parameters.values(), recipe.clip_gradient_norm or math.inf)
        if not math.isfinite(norm) and not processes.scales_loss:
            self._diverged(f"the gradient's norm is {norm}")
        self.optimizer.step()
        self._after_step()
        return value

    @torch.no_grad()
    def _after_step(self) -> None:
        name = "clip_model.logit_scale"
        if name in self.task.parameters:
            self.task.parameters[name].clamp_(0, math.log(self.task.max_logit_scale))
        if self.recipe.average:
            keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
            for key, parameter in self.task.parameters.items():
                self.average[key].lerp_(parameter.detach(), 1 - keep)
        self.step += 1

    def _diverged(self, what: str) -> None:
        """Saves the state before this step, if it is good, and gives up."""
        if all(bool(torch.isfinite(p).all()) for p in self.task.parameters.values()):
            self._save()
        files = self.checkpoints.files()
        saved = f"the state before it is in {files[-1]}" if files else "nothing good could be saved"
        raise TrainingError(
            f"{what} at step {self.step + 1} of {self.steps}; {saved}; resume with a lower learning_rate or "
            "precision fp32"
        )

    def _measure(self, epoch: int) -> dict[str, Any]:
        """Accuracy on what is held out, with the average where one is kept; recorded."""
        if self.held_out is None:
            self._record({"epoch": epoch})
            return {}
        self._training(False)
        live = self._swap(self.average if self.recipe.average and self.step else {})
        with self.processes.accelerator.autocast():
            sums = self.held_out.sums(
                self.task.clip,
                self.task.templates,
                use_masks=self.task.use_masks,
                workers=self.recipe.workers,
            )
        self._swap(live)
        count, right, cosine = self.processes.sum(sums).tolist()
        figures = {
            "epoch": epoch,
            "top1": round(right / count, 6),
            "cosine": round(cosine / count, 6),
            "pairs": int(count),
            "nouns": len(self.held_out.nouns),
        }
        self._record(figures)
        return figures

    @torch.no_grad()
    def _swap(self, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Puts values into the parameters; returns those that were there."""
        before = {name: self.task.parameters[name].detach().clone() for name in values}
        for name, value in values.items():
            self.task.parameters[name].copy_(value)
        return before

    def _training(self, on: bool) -> None:
        """Only what moves is in training mode: a locked tower keeps its dropout and statistics still."""
        self.task.clip.eval()
        if on and not self.task.use_masks:
            self.task.clip.clip_model.visual.train()

    def _record(self, figures: Mapping[str, Any]) -> None:
        record = {"step": self.step, **figures}
        if self.processes.is_first:
            self.history.add(record)
            self.processes.chart(self.out, record)
        if self._report is not None:
            self._report({**record, "steps": self.steps, "skipped": len(self.skipped)})

    def _skip(self, problems: Mapping[str, str]) -> None:
        """Notes what cannot be used, and says so once each, as long as that can be read."""
        for name, reason in problems.items():
            if name not in self.skipped and len(self.skipped) < SAID:
                self._say(f"skipped {name}: {reason}")
            self.skipped[name] = reason

    def _say(self, text: str) -> None:
        _LOG.info("%s", text)
        if self._report is not None:
            self._report({"message": text})

    def _save(self) -> None:
        random_states = self.processes.random_states()
        for skipped in self.processes.everyone(self.skipped):
            self.skipped |= skipped
        if not self.processes.is_first:
            return
        state = {
            "step": self.step,
            "recipe": recipe_values(self.recipe) | {"data": self.fingerprint},
            "values": {name: value.detach().cpu() for name, value in self.task.moving().items()},
            "average": {name: value.cpu() for name, value in self.average.items()},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.processes.scaler_state(),
            "random": random_states,
            "skipped": dict(self.skipped),
            "losses": list(self._losses),
        }
        self.checkpoints.save(self.step, state)
        if self.skipped:
            text = json.dumps(self.skipped, indent=2, ensure_ascii=False) + "\n"
            (self.out / "skipped.json").write_text(text, encoding="utf-8")

    @torch.no_grad()
    def _resume(self) -> None:
        found = self.checkpoints.load_newest()
        if found is None:
            self._say(f"no checkpoint in {self.checkpoints.folder}: beginning")
            return
        path, state = found
        check_same(path, state["recipe"], recipe_values(self.recipe) | {"data": self.fingerprint})
        moving = self.task.moving()
        if moving.keys() != state["values"].keys():
            raise ConfigError(f"{path} is of another model; resume with the preset it was begun with")
        for name, value in moving.items():
            value.copy_(state["values"][name])
        for name, value in self.average.items():
            value.copy_(state["average"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.processes.restore(state["scaler"], state["random"])
        self.skipped |= state["skipped"]
        self.step, self._losses = state["step"], list(state["losses"])
        self._say(f"going on at step {self.step} of {self.steps}, from {path.name}")

    def close(self) -> None:
        """Waits for the other processes and ends the charts."""
        self.processes.accelerator.wait_for_everyone()
        self.processes.close()
